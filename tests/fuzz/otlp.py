"""Damaged OTLP between good records, through the very translator that the role runs, and on through intake."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import orjson

from stoploss.errors import MalformedRecord
from stoploss.intake.results import RawRecord
from stoploss.otlp.assembly import Released
from stoploss.otlp.assigning import Flags
from stoploss.otlp.translating import LOGS, SPANS, Made, Translator, made
from tests.fuzz.mutations import DOUBLES, LONGS, STRINGS, damaged
from tests.intake.alone import process_outcomes, process_traces
from tests.intake.records import SALT, SOURCE, declaring
from tests.otlp.telling import AT_NS, CHAT, EVALUATED, EXPERIMENT, FLAG, Telling, event, logged, translator

EXAMPLES = Path(__file__).parents[1] / "otlp" / "examples"
SCORED = {"gen_ai.evaluation.name": "helpfulness", "gen_ai.evaluation.score.value": 0.5}
INPUTS, GOOD = 100, 10
READABLE = {"number", "trace_id", "assigned_twice"}
"""What intake may say of a trace that was made here: of what a service sends, never of how it is written."""


def check(seed: int) -> int:
    """Raises what a worker should not see: anything but MalformedRecord."""
    rng = Random(seed)
    busy = translator(Flags({FLAG: (EXPERIMENT,)}, {"app.arm": "chairs"}), passed=("app.tier",))
    good = {rng.randbytes(16): rng.randrange(INPUTS) for _ in range(GOOD)}
    out = Released()
    for place in range(INPUTS):
        for trace_id in (trace_id for trace_id, at in good.items() if at == place):
            _take(busy, SPANS, _neighbour(rng, trace_id), out)
        topic, value = _mutated(rng)
        _take(busy, topic, value, out)
    _add(out, busy.assembly.expire(1e6))
    _check_all_gone(busy)
    _check_good(good, out)
    _check_intake(list(made(out)))
    return INPUTS


def _take(busy: Translator, topic: str, value: bytes | None, out: Released) -> None:
    told = "a whole record"
    try:
        _add(out, busy.take(topic, value, "source", 0.0))
    except MalformedRecord as error:
        told = str(error)
    assert told, value


def _add(out: Released, more: Released) -> None:
    out.traces += more.traces
    out.outcomes += more.outcomes


def _neighbour(rng: Random, trace_id: bytes) -> bytes:
    told = Telling()
    span = told.span("chat", CHAT, trace_id=trace_id)
    event(span, "feature_flag.evaluation", EVALUATED)
    return rng.choice((told.value, told.json))


def _check_all_gone(busy: Translator) -> None:
    assert not busy.assembly.waiting_spans
    assert not busy.assembly.holds("source")


def _check_good(good: dict[bytes, int], out: Released) -> None:
    """Each good record is one whole trace."""
    arrived = Counter(record["trace_id"] for record in out.traces)
    whole = {
        record["trace_id"] for record in out.traces if record.get("input_tokens") == CHAT["gen_ai.usage.input_tokens"]
    }
    for trace_id in good:
        assert arrived[trace_id.hex()] == 1
        assert trace_id.hex() in whole
    assert max(arrived.values()) == 1


def _check_intake(records: list[Made]) -> None:
    """Whatever was sent, what is made of it can be read."""
    watched = declaring("")
    for topic, process in (("traces", process_traces), ("outcomes", process_outcomes)):
        values = [each.value for each in records if each.topic == topic]
        raw = [RawRecord(offset, value, AT_NS // 1_000_000) for offset, value in enumerate(values)]
        result = process(raw, SOURCE, watched, salt=SALT, now_micros=AT_NS // 1_000)
        codes = {reject.code for reject in result.rejects}
        assert codes <= READABLE, result.rejects[:3]


# ---- what is sent ----------------------------------------------------------------------------------


def _mutated(rng: Random) -> tuple[str, bytes | None]:
    topic, value = rng.choice(_whole())
    chosen = rng.random()
    if chosen < 0.02:
        return topic, rng.choice((None, b"", b"{", b"\x0a", rng.randbytes(40)))
    if chosen < 0.05:
        return rng.choice((SPANS, LOGS)), value
    if value[:1] == b"{" and chosen < 0.5:
        document = orjson.loads(value)
        for _ in range(rng.choice((1, 1, 3))):
            _confuse(rng, document)
        return topic, orjson.dumps(document)
    return topic, damaged(rng, value)


@cache
def _whole() -> list[tuple[str, bytes]]:
    spans = [path.read_bytes() for path in sorted(EXAMPLES.glob("*.pb")) if path.stem != "logs"]
    told = Telling(**{"app.arm": "small"})
    root = told.span("POST /chat", {"app.tier": "gold", "stoploss.tenant": "acme"}, kind=2)
    event(root, "feature_flag.evaluation", {**EVALUATED, "feature_flag.version": "1.2"})
    event(root, "gen_ai.evaluation.result", SCORED)
    said = [{"role": "assistant", "parts": [{"type": "text", "content": "yes"}]}]
    told.span("chat", {**CHAT, "gen_ai.output.messages": said, "gen_ai.response.finish_reasons": ["stop"]}, parent=root)
    told.span("execute_tool", {"gen_ai.operation.name": "execute_tool", "stoploss.step.side_effect": True}, parent=root)
    logs = [(EXAMPLES / "logs.pb").read_bytes(), logged("gen_ai.evaluation.result", {**SCORED, **EVALUATED})]
    return [
        *((SPANS, value) for value in (*spans, told.value, told.json, told.json, told.json)),
        *((LOGS, value) for value in logs),
    ]


def _confuse(rng: Random, document: Any) -> None:
    """Something within takes another type, an extreme value, or goes missing."""
    node, key = document, None
    for _ in range(rng.randint(1, 12)):
        keys = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
        if not keys:
            break
        holder, key = node, rng.choice(keys)
        node = holder[key]
    if key is None:
        return
    odd = (None, True, -1, 2**63, "", "zz", [], {}, [1], {"a": {}}, 1e308, rng.choice(STRINGS), rng.choice(LONGS))
    value = rng.choice((*odd, next(number for number in (rng.choice(DOUBLES), 0.5) if number == number)))
    if rng.random() < 0.2 and isinstance(holder, dict):
        del holder[key]
    else:
        holder[key] = value
