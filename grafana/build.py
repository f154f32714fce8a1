"""Writes the dashboards and alert rules. Run it after a change of a page: python -m grafana.build"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from grafana import alerting
from grafana.pages import PAGES
from grafana.panel import RED, Page, Panel, Rows, Variable, Visual

DATASOURCE = {"type": "grafana-clickhouse-datasource", "uid": "stoploss-clickhouse"}
FOLDER = Path(__file__).parent / "dashboards"
PAGE_WIDTH = 24

Json = dict[str, Any]

COLOURED = {"type": "color-background", "mode": "basic"}
LINKS = {"title": "stoploss", "type": "dashboards", "tags": ["stoploss"], "asDropdown": True, "keepTime": True}
TO_EXPERIMENT = {"title": "Show it", "url": "/d/stoploss-experiment?var-experiment=${__value.raw:percentencode}"}


def target(sql: str, visual: Visual) -> Json:
    """A query as the plugin's SQL editor saves it: format 0 is a time series, 1 a table."""
    series = visual == "timeseries"
    return {
        "refId": "A",
        "datasource": DATASOURCE,
        "editorType": "sql",
        "queryType": "timeseries" if series else "table",
        "format": 0 if series else 1,
        "rawSql": sql.strip(),
    }


def panel_json(panel: Panel, number: int, x: int, y: int) -> Json:
    made: Json = {
        "id": number,
        "type": panel.visual,
        "title": panel.title,
        "description": panel.todo,
        "datasource": DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "fieldConfig": {"defaults": _defaults(panel), "overrides": _overrides(panel)},
        "options": _options(panel),
        "targets": [target(panel.sql, panel.visual)],
    }
    if panel.matrix:
        made["transformations"] = [_as_matrix(*panel.matrix)]
    if panel.repeat:
        made |= {"repeat": panel.repeat, "repeatDirection": "h", "maxPerRow": 2}
    return made


def _as_matrix(row: str, column: str, value: str) -> Json:
    fields = {"rowField": row, "columnField": column, "valueField": value, "emptyValue": "null"}
    return {"id": "groupingToMatrix", "options": fields}


def _defaults(panel: Panel) -> Json:
    words = {text: {"color": colour, "index": index} for index, (text, colour) in enumerate(panel.colours.items())}
    defaults: Json = {
        "unit": panel.unit,
        "thresholds": {
            "mode": "absolute",
            "steps": [{"value": value, "color": colour} for value, colour in panel.steps],
        },
        "mappings": [{"type": "value", "options": words}] if words else [],
        "color": {"mode": "palette-classic" if panel.visual == "timeseries" else "thresholds"},
        "noValue": "no data",
    }
    if panel.matrix:
        defaults["custom"] = {"cellOptions": COLOURED}
    if panel.visual == "timeseries":
        style: Json = {"drawStyle": "line", "showPoints": "never", "spanNulls": True, "lineWidth": 1}
        bars: Json = {"drawStyle": "bars", "fillOpacity": 80, "stacking": {"mode": "normal", "group": "A"}}
        lines_at_thresholds = {"thresholdsStyle": {"mode": "dashed" if len(panel.steps) > 1 else "off"}}
        defaults["custom"] = (bars if panel.bars else style) | lines_at_thresholds
    return defaults


def _overrides(panel: Panel) -> list[Json]:
    units = [(name, {"id": "unit", "value": unit}) for name, unit in panel.units.items()]
    cells = [(name, {"id": "custom.cellOptions", "value": COLOURED}) for name in panel.coloured]
    links = [(name, {"id": "links", "value": [TO_EXPERIMENT]}) for name in panel.links]
    changes = [*units, *cells, *links]
    return [{"matcher": {"id": "byName", "options": name}, "properties": [change]} for name, change in changes]


def _options(panel: Panel) -> Json:
    match panel.visual:
        case "stat":
            picked = {"calcs": ["lastNotNull"], "fields": "/.*/", "values": True, "limit": 1}
            return {"reduceOptions": picked, "colorMode": "background", "graphMode": "none", "textMode": "value"}
        case "timeseries":
            return {
                "legend": {"displayMode": "list", "placement": "bottom"},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        case "table":
            return {"showHeader": True, "cellHeight": "sm"}


def heading_json(title: str, number: int, y: int) -> Json:
    grid = {"x": 0, "y": y, "w": PAGE_WIDTH, "h": 1}
    return {"id": number, "type": "row", "title": title, "gridPos": grid, "collapsed": False, "panels": []}


def laid_out(rows: Rows) -> list[Json]:
    """Panels under their row's heading, from left to right, in lines of PAGE_WIDTH."""
    made: list[Json] = []
    y = 0
    for heading, panels in rows.items():
        made.append(heading_json(heading, len(made) + 1, y))
        x, y, line = 0, y + 1, 0
        for panel in panels:
            if x + panel.width > PAGE_WIDTH:
                x, y, line = 0, y + line, 0
            made.append(panel_json(panel, len(made) + 1, x, y))
            x, line = x + panel.width, max(line, panel.height)
        y += line
    return made


def variable_json(name: str, variable: Variable) -> Json:
    return {
        "name": name,
        "label": variable.label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": variable.sql,
        "definition": variable.sql,
        "refresh": 2,
        "sort": 1,
        "multi": variable.every,
        "includeAll": variable.every,
        "current": {"text": ["All"], "value": ["$__all"]} if variable.every else {},
    }


def annotation(sql: str) -> Json:
    return {
        "name": "Commands",
        "enable": True,
        "iconColor": RED,
        "datasource": DATASOURCE,
        "target": target(sql, "table"),
    }


def dashboard(page: Page) -> Json:
    return {
        "uid": f"stoploss-{page.name}",
        "title": page.title,
        "description": page.description,
        "tags": ["stoploss"],
        "schemaVersion": 41,
        "editable": False,
        "timezone": "utc",
        "refresh": "10s",
        "graphTooltip": 1,
        "time": {"from": f"now-{page.span}", "to": "now"},
        "links": [LINKS],
        "templating": {"list": [variable_json(name, variable) for name, variable in page.variables.items()]},
        "annotations": {"list": [annotation(page.annotations)] if page.annotations else []},
        "panels": laid_out(page.rows),
    }


def path_of(page: Page) -> Path:
    return FOLDER / f"{page.name}.json"


def text_of(page: Page) -> str:
    return json.dumps(dashboard(page), indent=2, ensure_ascii=False) + "\n"


def files() -> dict[Path, str]:
    """Every file that is written, with what it holds."""
    return {path_of(page): text_of(page) for page in PAGES} | {alerting.PATH: alerting.text()}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
