"""Writes the dashboards and alert rules. Run it after a change of a page: python -m grafana.build"""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

from grafana_foundation_sdk.builders import common as option
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, dashboard

from grafana import alerting
from grafana.pages import PAGES
from grafana.panel import RED, Page, Panel, Variable
from grafana.query import DATASOURCE, Query

FOLDER = Path(__file__).parent / "dashboards"

COLOURED = common.TableColoredBackgroundCellOptions(mode=common.TableCellBackgroundDisplayMode.BASIC)
LINKS = build.DashboardLink("stoploss").type(dashboard.DashboardLinkType.DASHBOARDS).tags(["stoploss"])
TO_EXPERIMENT = {"title": "Show it", "url": "/d/stoploss-experiment?var-experiment=${__value.raw:percentencode}"}

Shown = stat.Panel | timeseries.Panel | table.Panel


def _visual(panel: Panel) -> Shown:
    match panel.visual:
        case "stat":
            picked = option.ReduceDataOptions().calcs(["lastNotNull"]).fields("/.*/").values(True).limit(1)
            made = stat.Panel().reduce_options(picked).text_mode(common.BigValueTextMode.VALUE)
            return made.color_mode(common.BigValueColorMode.BACKGROUND).graph_mode(common.BigValueGraphMode.NONE)
        case "timeseries":
            return _styled(timeseries.Panel(), panel)
        case "table":
            return table.Panel().cell_options(COLOURED) if panel.matrix else table.Panel()


def _styled(made: timeseries.Panel, panel: Panel) -> timeseries.Panel:
    """Lines or stacked bars, with a dashed line at each threshold."""
    made.legend(option.VizLegendOptions().show_legend(True).placement(common.LegendPlacement.BOTTOM))
    made.tooltip(option.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
    if len(panel.steps) > 1:
        made.thresholds_style(option.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED))
    if panel.bars:
        stacked = option.StackingConfig().mode(common.StackingMode.NORMAL).group("A")
        return made.draw_style(common.GraphDrawStyle.BARS).fill_opacity(80).stacking(stacked)
    return made.show_points(common.VisibilityMode.NEVER).span_nulls(True)


def shown(panel: Panel, number: int) -> Shown:
    steps = [dashboard.Threshold(value, colour) for value, colour in panel.steps]
    words = {text: dashboard.ValueMappingResult(color=colour) for text, colour in panel.colours.items()}
    mode = dashboard.FieldColorModeId
    series = panel.visual == "timeseries"
    made = (
        _visual(panel)
        .id(number)
        .title(panel.title)
        .description(panel.todo)
        .datasource(DATASOURCE)
        .with_target(Query(panel.sql, series=series))
        .span(panel.width)
        .height(panel.height)
        .unit(panel.unit)
        .thresholds(build.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps))
        .color_scheme(build.FieldColor().mode(mode.PALETTE_CLASSIC if series else mode.THRESHOLDS))
        .mappings([dashboard.ValueMap(words)] if words else [])
        .no_value("no data")
    )
    for name, change in _changes(panel):
        made.override_by_name(name, [change])
    if panel.matrix:
        made.with_transformation(_as_matrix(*panel.matrix))
    return made.repeat(panel.repeat).max_per_row(2) if panel.repeat else made


def _changes(panel: Panel) -> list[tuple[str, dashboard.DynamicConfigValue]]:
    """What single columns have of their own."""
    value = dashboard.DynamicConfigValue
    return [
        *((name, value("unit", unit)) for name, unit in panel.units.items()),
        *((name, value("custom.cellOptions", COLOURED)) for name in panel.coloured),
        *((name, value("links", [TO_EXPERIMENT])) for name in panel.links),
    ]


def _as_matrix(row: str, column: str, value: str) -> dashboard.DataTransformerConfig:
    fields = {"rowField": row, "columnField": column, "valueField": value, "emptyValue": "null"}
    return dashboard.DataTransformerConfig(id_val="groupingToMatrix", options=fields)


def chosen(name: str, variable: Variable) -> build.QueryVariable:
    made = build.QueryVariable(name).label(variable.label).query(variable.sql).datasource(DATASOURCE)
    order = dashboard.VariableSort.DISABLED if variable.ranked else dashboard.VariableSort.ALPHABETICAL_ASC
    made.refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(order)
    if variable.every:
        made.multi(True).include_all(True).current(dashboard.VariableOption(text=["All"], value=["$__all"]))
    return made


def annotation(name: str, sql: str) -> build.AnnotationQuery:
    """The SDK knows marks of Grafana's own data source alone; Grafana takes any query there."""
    query = cast(Builder[dashboard.AnnotationTarget], Query(sql))
    return build.AnnotationQuery().name(name).enable(True).icon_color(RED).datasource(DATASOURCE).target(query)


def made(page: Page) -> dashboard.Dashboard:
    out = (
        build.Dashboard(page.title)
        .uid(f"stoploss-{page.name}")
        .description(page.description)
        .tags(["stoploss"])
        .readonly()
        .timezone("utc")
        .refresh("10s")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .time(f"now-{page.span}", "now")
        .link(LINKS.as_dropdown(True).keep_time(True))
        .variables([chosen(name, variable) for name, variable in page.variables.items()])
        .annotations([annotation(name, sql) for name, sql in page.annotations.items()])
    )
    number = 0
    for heading, panels in page.rows.items():
        out.with_row(build.Row(heading).id(number := number + 1))
        for panel in panels:
            out.with_panel(shown(panel, number := number + 1))
    return out.build()


def path_of(page: Page) -> Path:
    return FOLDER / f"{page.name}.json"


def text_of(page: Page) -> str:
    return json.dumps(made(page), cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"


def files() -> dict[Path, str]:
    """Every file that is written, with what it holds."""
    return {path_of(page): text_of(page) for page in PAGES} | {alerting.PATH: alerting.text()}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
