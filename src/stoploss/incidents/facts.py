"""What people put on record about an experiment, read from the ledger again: what the judge accepted, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from stoploss import followup, ledger
from stoploss.followup import Said
from stoploss.ledger import Request
from stoploss.lifecycle import RECORD
from stoploss.review.words import moment

if TYPE_CHECKING:  # who only asks what became of a duty needs no client
    from clickhouse_connect.driver.client import Client

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


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that the judge accepted, and the ledger's time of it."""

    request: Request
    at: datetime


def asked(client: Client, experiment: str) -> list[Asked]:
    """Every accepted request of an experiment, in order."""
    bound = {"experiment": experiment}
    accepted = {request_id for (request_id,) in client.query(_ACCEPTED, parameters=bound).result_rows}
    # As bytes: the driver would read a String as UTF-8, and as hex digits where it is none.
    rows = client.query(_REQUESTS, parameters=bound, column_formats={"value": "bytes"}).result_rows
    return accepted_of([(at, ledger.decode(value)) for at, value in rows], accepted)


def accepted_of(entries: Sequence[tuple[int, ledger.Fact]], accepted: set[str]) -> list[Asked]:
    """Of ledger entries with their time in microseconds; a request that was sent twice is one.

    accepted  ids of the requests that the judge did not refuse
    """
    found: dict[str, Asked] = {}
    for at, fact in entries:
        if isinstance(fact, Request) and fact.request_id in accepted:
            found.setdefault(fact.request_id, Asked(fact, moment(at)))
    return list(found.values())


def on_record(client: Client, experiment: str) -> list[OnRecord]:
    """All facts that people put on record of an experiment, in order."""
    return recorded(asked(client, experiment))


def recorded(requests: Sequence[Asked]) -> list[OnRecord]:
    """What among the requests is a fact."""
    said = [(one, followup.parse(one.request.body)) for one in requests if one.request.action == RECORD]
    return [OnRecord(fact, one.request.by, one.at) for one, fact in said if not isinstance(fact, str)]
