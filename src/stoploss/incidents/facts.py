"""What people put on record about an experiment, read from the ledger again: what the judge accepted, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from clickhouse_connect.driver.client import Client

from stoploss import followup, ledger
from stoploss.followup import Said
from stoploss.ledger import Request
from stoploss.lifecycle import RECORD
from stoploss.review.overview import moment

# What the judge did not accept is in the ledger too, and is no fact.
_REQUESTS = """
SELECT toUnixTimestamp64Micro(at) AS at_micros, value
FROM ledger_v
WHERE experiment = {experiment:String} AND kind = 'request'
ORDER BY partition, offset
"""
_ACCEPTED = """
SELECT JSONExtractString(conclusion, 'request_id')
FROM journal_v
WHERE experiment = {experiment:String} AND kind = 'request_handled' AND JSONExtractBool(conclusion, 'accepted')
"""


@dataclass(frozen=True, slots=True)
class OnRecord:
    """A fact: who said what, when, by the ledger's clock."""

    said: Said
    by: str
    at: datetime


def on_record(client: Client, experiment: str) -> list[OnRecord]:
    """All of an experiment, in order."""
    bound = {"experiment": experiment}
    accepted = {request_id for (request_id,) in client.query(_ACCEPTED, parameters=bound).result_rows}
    # As bytes: the driver would read a String as UTF-8, and as hex digits where it is none.
    rows = client.query(_REQUESTS, parameters=bound, column_formats={"value": "bytes"}).result_rows
    return facts([(at, ledger.decode(value)) for at, value in rows], accepted)


def facts(entries: Sequence[tuple[int, ledger.Fact]], accepted: set[str]) -> list[OnRecord]:
    """Of ledger entries with their time in microseconds; a request that was sent twice is one.

    accepted  ids of the requests that the judge did not refuse
    """
    found: dict[str, OnRecord] = {}
    for at, fact in entries:
        if not isinstance(fact, Request) or fact.action != RECORD or fact.request_id not in accepted:
            continue
        said = followup.parse(fact.body)
        if not isinstance(said, str):
            found.setdefault(fact.request_id, OnRecord(said, fact.by, moment(at)))
    return list(found.values())
