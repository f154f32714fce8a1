"""What Grafana and its ClickHouse plugin make of a panel's SQL before they send it.

Sources: grafana-clickhouse-datasource, pkg/macros; Grafana's documentation, "Advanced variable format options".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime

ALL = "$__all"
"""What a variable holds while all its values are chosen."""

_CONDITIONAL = re.compile(r"\$__conditionalAll\((.+?), \$(\w+)\)", re.DOTALL)
_MACRO = re.compile(r"\$__([a-zA-Z_]+)(?:\(([^()]*)\))?")
_VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\$(?!__)([A-Za-z]\w*)")

FORMATS: dict[str, Callable[[str], str]] = {
    "sqlstring": lambda value: "'" + value.replace("'", "''") + "'",
    "singlequote": lambda value: "'" + value.replace("'", "\\'") + "'",
    "raw": lambda value: value,
}


def expand_macros(sql: str, *, start: datetime, end: datetime, interval_s: int, variables: Mapping[str, str]) -> str:
    """SQL as ClickHouse receives it, for a page that shows `start` to `end` with a point every `interval_s` seconds.

    Raises KeyError for a macro that the plugin does not have, a variable that the page does not, or another format.
    """
    conditional = _CONDITIONAL.sub(lambda match: "1=1" if variables[match[2]] == ALL else match[1], sql)
    interpolated = _VARIABLE.sub(lambda match: _value(match, variables), conditional)
    return _MACRO.sub(lambda match: _macro(match[1], match[2] or "", start, end, interval_s), interpolated)


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    name, variable_format = match[1] or match[3], match[2] or "raw"
    return FORMATS[variable_format](variables[name])


def _macro(name: str, argument: str, start: datetime, end: datetime, interval_s: int) -> str:
    seconds = [f"toDateTime({int(moment.timestamp())})" for moment in (start, end)]
    millis = [f"fromUnixTimestamp64Milli({int(moment.timestamp() * 1_000)})" for moment in (start, end)]
    interval = f"INTERVAL {max(interval_s, 1)}"
    expansions = {
        "fromTime": seconds[0],
        "toTime": seconds[1],
        "fromTime_ms": millis[0],
        "toTime_ms": millis[1],
        "timeFilter": f"{argument} >= {seconds[0]} AND {argument} <= {seconds[1]}",
        "timeFilter_ms": f"{argument} >= {millis[0]} AND {argument} <= {millis[1]}",
        "timeInterval": f"toStartOfInterval(toDateTime({argument}), {interval} second)",
        "timeInterval_ms": f"toStartOfInterval(toDateTime64({argument}, 3), {interval}000 millisecond)",
        "interval_s": str(max(interval_s, 1)),
    }
    return expansions[name]
