"""A query of the ClickHouse plugin, which the SDK does not know, as a data query of its own."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.dashboard import DataSourceRef

DATASOURCE = DataSourceRef(type_val="grafana-clickhouse-datasource", uid="stoploss-clickhouse")


class Query(Dataquery, Builder["Query"]):
    """SQL as the plugin's editor saves it: format 0 is a time series, 1 a table."""

    def __init__(self, sql: str, *, series: bool = False) -> None:
        self.sql, self.series = sql.strip(), series

    def build(self) -> Query:
        return self

    def to_json(self) -> dict[str, object]:
        return {
            "refId": "A",
            "datasource": DATASOURCE,
            "editorType": "sql",
            "queryType": "timeseries" if self.series else "table",
            "format": 0 if self.series else 1,
            "rawSql": self.sql,
        }
