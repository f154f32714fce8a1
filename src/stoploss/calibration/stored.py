"""The stored traces of an experiment's control variant, as the JSON objects that were sent."""

from __future__ import annotations

from collections.abc import Iterator

from clickhouse_connect.driver.client import Client

from stoploss.experiment import Experiment

MOST = 200_000
"""Newest requests that are read."""

# Personal data in an output stands in pii_classes; appended as the SDK's masks, intake counts it as it did before.
_CONTROL = """
SELECT * EXCEPT (pii_classes, broker_at, quarantined) REPLACE (
    toUnixTimestamp64Micro(at) AS at,
    if(empty(pii_classes), output_text, concat(ifNull(output_text, ''), arrayStringConcat(
        arrayMap(c -> concat(' [masked:', c, ']'), pii_classes)))) AS output_text)
FROM traces_v
WHERE arrayExists(a -> a.experiment = {experiment:String} AND a.variant = {variant:String}, assignments)
    AND quarantined IS NULL
ORDER BY at DESC
LIMIT {most:Int64}
"""
_AS_SENT = {"output_format_json_named_tuples_as_objects": 1, "output_format_json_quote_64bit_integers": 0}


def traces(client: Client, experiment: Experiment) -> Iterator[bytes]:
    """One JSON object a trace; texts are masked, and what was masked counts as what it hid."""
    bound = {"experiment": experiment.name, "variant": experiment.control.name, "most": MOST}
    lines = client.raw_query(_CONTROL, parameters=bound, settings=_AS_SENT, fmt="JSONEachRow")
    yield from filter(None, lines.split(b"\n"))
