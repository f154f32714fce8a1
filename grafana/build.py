"""Writes grafana/dashboards/experiment.json. Run it after a change of panels.py: python -m grafana.build"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from grafana.panels import COMMANDS_SQL, RED, ROWS, VARIABLES, Panel, Visual

DATASOURCE = {"type": "grafana-clickhouse-datasource", "uid": "stoploss-clickhouse"}
OUTPUT = Path(__file__).parent / "dashboards" / "experiment.json"
PAGE_WIDTH = 24

Json = dict[str, Any]


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
    if panel.repeat:
        made |= {"repeat": panel.repeat, "repeatDirection": "h", "maxPerRow": 2}
    return made


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
    if panel.visual == "timeseries":
        style: Json = {"drawStyle": "line", "showPoints": "never", "spanNulls": True, "lineWidth": 1}
        bars: Json = {"drawStyle": "bars", "fillOpacity": 80, "stacking": {"mode": "normal", "group": "A"}}
        lines_at_thresholds = {"thresholdsStyle": {"mode": "dashed" if len(panel.steps) > 1 else "off"}}
        defaults["custom"] = (bars if panel.bars else style) | lines_at_thresholds
    return defaults


def _overrides(panel: Panel) -> list[Json]:
    units = [(name, {"id": "unit", "value": unit}) for name, unit in panel.units.items()]
    cells = [
        (name, {"id": "custom.cellOptions", "value": {"type": "color-background", "mode": "basic"}})
        for name in panel.coloured
    ]
    return [{"matcher": {"id": "byName", "options": name}, "properties": [change]} for name, change in [*units, *cells]]


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


def laid_out(rows: dict[str, tuple[Panel, ...]]) -> list[Json]:
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


def variable(name: str) -> Json:
    label, sql = VARIABLES[name]
    every = name == "guardrail"  # its panel is repeated, once for each
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": sql,
        "definition": sql,
        "refresh": 2,
        "sort": 1,
        "multi": every,
        "includeAll": every,
        "current": {"text": ["All"], "value": ["$__all"]} if every else {},
    }


def annotation() -> Json:
    return {
        "name": "Commands",
        "enable": True,
        "iconColor": RED,
        "datasource": DATASOURCE,
        "target": target(COMMANDS_SQL, "table"),
    }


def dashboard() -> Json:
    return {
        "uid": "stoploss-experiment",
        "title": "Experiment",
        "description": "One experiment: its state, its arms, what the rules say, what was commanded and what followed.",
        "tags": ["stoploss"],
        "schemaVersion": 41,
        "editable": False,
        "timezone": "utc",
        "refresh": "10s",
        "graphTooltip": 1,
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [variable(name) for name in VARIABLES]},
        "annotations": {"list": [annotation()]},
        "panels": laid_out(ROWS),
    }


def text() -> str:
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    OUTPUT.write_text(text())
