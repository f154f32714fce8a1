"""A leak that was stopped, as it stands in ClickHouse: what the real judge made of it, with real signatures."""

from __future__ import annotations

import polars as pl
from clickhouse_connect.driver.client import Client

from stoploss import checkpoints, followup
from stoploss.followup import Said
from stoploss.journal import RequestHandled
from stoploss.ledger import Request
from stoploss.outputs import JournalOutput
from stoploss.signing import Signer
from stoploss.store import inserts
from stoploss.store.arrow import clean_to_bytes
from stoploss.store.schema import migrate
from stoploss.store.stored import Stored
from tests.evidence import signed
from tests.review import stories
from tests.store import samples
from tests.timelines import Timeline, merged, traces, with_gate

FIRST = 600
"""Offset of the first trace of the block that leaked; two of its twenty traces did."""
INPUT = "What is the card of ann@example.org?"
OUTPUT = "It is [card]."


def leaked() -> Timeline:
    """Two of twenty traces of the treatment hold a card number: stopped at once, and resumed by a person later."""
    story = stories._started()
    story.traces(traces(600, seed=1, tenant="acme"))
    story.seconds(11)
    some = traces(20, seed=2, tenant="acme")
    rows = [int(row) for row in some.variant.nonzero()[0][:2]]
    for row in rows:
        some = with_gate(some, row, 0)
    story.traces(some)
    stories._answered(story)
    story.seconds(2)
    story.ask("resume")
    story.ack("flagd")
    story.traces(merged(traces(30, seed=8, tenant="acme")))
    story.seconds(3)
    return story


def put_on_record(story: Timeline, said: Said, by: str = "ada") -> str | None:
    """As a person does through the registrar; gives the judge's reason where it is refused."""
    request_id = f"record-{len(story.entries)}"
    body = followup.written(said)
    asked = Request(request_id, "checkout", "record", by, "in words", story.at, partition=0, accepted=True, body=body)
    story.append(asked)
    (handled,) = [one for one in story.said(RequestHandled) if one.request_id == request_id]
    return None if handled.accepted else handled.reason


def leaking_offsets(story: Timeline) -> list[int]:
    some = traces(20, seed=2, tenant="acme")
    return [FIRST + int(row) for row in some.variant.nonzero()[0][:2]]


def frame(**columns: object) -> pl.DataFrame:
    """The twenty traces of that block as intake stores them."""
    stored = samples.traces_frame(range(FIRST, FIRST + 20), stories.EXPERIMENT)
    given = {"input_text": INPUT, "output_text": OUTPUT, "unit_id": "user-7", "quarantined": None, **columns}
    return stored.with_columns(pl.lit(value, pl.String).alias(name) for name, value in given.items())


def record(client: Client, story: Timeline, signer: Signer, stored: pl.DataFrame | None) -> None:
    """As the recorder writes it."""
    migrate(client)
    for stream, found in stories.streams_of(story).items():
        inserts.insert(client, inserts.encode(stream, found))
    values = [output.value for output in story.outputs if isinstance(output, JournalOutput)]
    for number, one in enumerate(signed(values, signer)):
        at = checkpoints.decode(one.value).at // 1_000
        headers = (("stoploss-signature", (one.signature or "").encode()),)
        place = ("stoploss.checkpoints", "uuid-of-checkpoints", 0, number, at, b"checkout", one.value, headers)
        inserts.insert(client, inserts.encode("checkpoints", [Stored(*place)]))
    if stored is not None:
        rows = [clean_to_bytes(stored)]
        inserts.insert(client, inserts.encode("traces_clean", samples.stored("traces_clean", rows)))
