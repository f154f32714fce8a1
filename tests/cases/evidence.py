"""Harm by hand: rows that were evidence of it, with and without their traces."""

from __future__ import annotations

from stoploss.cases.model import Case, cases_of
from stoploss.incidents.evidence import FoundRows, Harmful
from stoploss.incidents.pack import Harm
from stoploss.incidents.traces import Shown, Trace, masked
from stoploss.ledger import Source

COMMAND, FINDING = "c" * 64, "f" * 64
SOURCE = Source("stoploss.traces", "uuid-of-traces", 3)
HOSTILE = 'it\'s "quoted" {{ env.KEY }} {% raw %} file:///etc/passwd \\ \n\t☃ <b>'
OUTPUT = "Your card is [card]."


def row(offset: int, rule: str = "gate", metric: str = "pii_exposed", segment: str | None = None) -> Harmful:
    why = f"it tripped {metric}: output_text holds a card number" if rule == "gate" else f"it counts against {metric}"
    return Harmful(FINDING, SOURCE, offset, 7, False, rule, metric, segment, why)


def shown(offset: int, text: str | None = "What is my card?", output: str | None = OUTPUT, **more: str) -> Shown:
    trace: Trace = {"trace_id": f"t-{offset}", "input_text": text, "output_text": output, "model": "small-1"}
    return Shown(row(offset, **more), masked(trace))


def harm(*found: Shown, of: int = 0, none_because: str | None = None) -> Harm:
    rows = FoundRows(FINDING, tuple(one.row for one in found), of or len(found), none_because)
    return Harm((rows,), found)


def cases(*found: Shown) -> tuple[Case, ...]:
    return cases_of([("checkout", COMMAND, harm(*found))]).cases


def several() -> tuple[Case, ...]:
    """Two gates' worth of harm, a hostile text, and one without an output."""
    return cases(
        shown(1),
        shown(2, HOSTILE),
        shown(3, "file:///etc/passwd", None),
        shown(4, "What is my card?", rule="guardrail", metric="error_rate", segment="tenant=acme"),
    )
