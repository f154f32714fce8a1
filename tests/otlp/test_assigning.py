"""Which variant handled a trace: span attribute, span event, log event, configured attribute, in this order."""

from __future__ import annotations

from typing import Any

import pytest

from stoploss.otlp.assigning import Flags
from stoploss.otlp.records import Assignment
from stoploss.otlp.translating import LOGS, SPANS
from tests.otlp.telling import CHAT, EVALUATED, EXPERIMENT, FLAG, TRACE, Telling, event, logged, translator

CONFIGURED = Flags({FLAG: (EXPERIMENT,)}, {"app.arm": EXPERIMENT})


def evaluated(variant: str) -> dict[str, str]:
    return {**EVALUATED, "feature_flag.result.variant": variant}


def assigned(told: Telling, *logs: bytes, flags: Flags = CONFIGURED) -> list[Assignment]:
    waiting = translator(flags)
    for value in logs:
        waiting.take(LOGS, value, "logs", 0.0)
    made = waiting.take(SPANS, told.value, "spans", 0.0).traces + waiting.assembly.expire(100.0).traces
    return list(made[0]["assignments"]) if made else []


def telling(places: set[str]) -> tuple[Telling, list[bytes]]:
    """Each place names a variant of its own."""
    told = Telling()
    attributes: dict[str, Any] = dict(CHAT)
    if "span" in places:
        attributes |= evaluated("of-span")
    if "configured" in places:
        attributes["app.arm"] = "of-configured"
    span = told.span("chat", attributes)
    if "event" in places:
        event(span, "feature_flag.evaluation", evaluated("of-event"))
    return told, [logged("feature_flag.evaluation", evaluated("of-log"))] if "log" in places else []


@pytest.mark.parametrize(
    ("places", "first"),
    [
        ({"span", "event", "log", "configured"}, "of-span"),
        ({"event", "log", "configured"}, "of-event"),
        ({"log", "configured"}, "of-log"),
        ({"configured"}, "of-configured"),
    ],
)
def test_the_first_place_that_names_the_experiment_counts(places: set[str], first: str) -> None:
    told, logs = telling(places)
    assert [each.variant for each in assigned(told, *logs)] == [first]


def test_two_variants_in_one_place_are_both_told_so_that_intake_refuses_them() -> None:
    told = Telling()
    span = told.span("chat", CHAT)
    for variant in ("small", "current", "small"):
        event(span, "feature_flag.evaluation", evaluated(variant))
    assert [each.variant for each in assigned(told)] == ["small", "current"]


def test_a_flag_that_serves_no_experiment_is_no_assignment() -> None:
    told = Telling()
    event(told.span("chat", CHAT), "feature_flag.evaluation", {**EVALUATED, "feature_flag.key": "logo-colour"})
    assert assigned(told) == []


def test_an_experiment_named_outright_need_not_be_registered() -> None:
    """Intake says that nobody registered it."""
    told = Telling()
    told.span("chat", {**CHAT, "stoploss.experiment": "new", "stoploss.variant": "b", "stoploss.consent": True})
    assert assigned(told) == [Assignment("new", "b", consent=True)]


def test_a_flag_may_serve_two_experiments() -> None:
    told = Telling()
    event(told.span("chat", CHAT), "feature_flag.evaluation", EVALUATED)
    found = assigned(told, flags=Flags({FLAG: ("one", "two")}))
    assert found == [Assignment("one", "small"), Assignment("two", "small")]


@pytest.mark.parametrize(
    ("more", "stamps"),
    [
        ({"feature_flag.version": "3.2"}, (3, 2)),
        ({"stoploss.run": 4, "stoploss.epoch": 1}, (4, 1)),
        ({"stoploss.run": 4, "feature_flag.version": "3.2"}, (4, None)),
        ({"feature_flag.version": "01ABCDEF"}, (None, None)),
        ({"stoploss.run": 2**31}, (None, None)),
    ],
)
def test_run_and_epoch_are_stamped_or_stand_in_the_flags_version(
    more: dict[str, Any], stamps: tuple[int | None, int | None]
) -> None:
    told = Telling()
    event(told.span("chat", CHAT), "feature_flag.evaluation", {**EVALUATED, **more})
    (found,) = assigned(told)
    assert (found.run, found.epoch) == stamps


@pytest.mark.parametrize("value", ["small", '"small"'])
def test_a_provider_without_variants_tells_the_value(value: str) -> None:
    told = Telling()
    named = {"feature_flag.key": FLAG, "feature_flag.result.value": value}
    event(told.span("chat", CHAT), "feature_flag.evaluation", named)
    assert [each.variant for each in assigned(told)] == ["small"]


@pytest.mark.parametrize("value", ['"', '["a"]', "3"])
def test_values_that_are_no_names_are_taken_as_they_stand(value: str) -> None:
    told = Telling()
    named = {"feature_flag.key": FLAG, "feature_flag.result.value": value}
    event(told.span("chat", CHAT), "feature_flag.evaluation", named)
    assert [each.variant for each in assigned(told)] == [value]


def test_an_evaluation_without_variant_and_value_is_none() -> None:
    told = Telling()
    event(told.span("chat", CHAT), "feature_flag.evaluation", {"feature_flag.key": FLAG})
    assert assigned(told) == []


def test_the_older_name_of_the_event_is_known() -> None:
    told = Telling()
    event(told.span("chat", CHAT), "feature_flag", {"feature_flag.key": FLAG, "feature_flag.variant": "small"})
    assert [each.variant for each in assigned(told)] == ["small"]


def test_a_configured_attribute_may_stand_on_the_resource() -> None:
    told = Telling(**{"app.arm": "small"})
    told.span("chat", CHAT)
    assert assigned(told) == [Assignment(EXPERIMENT, "small")]


def test_a_span_below_the_entry_may_name_the_variant() -> None:
    told = Telling()
    root = told.span("POST /chat")
    told.span("chat", {**CHAT, **EVALUATED}, parent=root, at_ms=5)
    assert assigned(told) == [Assignment(EXPERIMENT, "small")]


def test_the_unit_is_the_one_that_the_flag_saw() -> None:
    told = Telling()
    root = told.span("POST /chat", {"user.id": "somebody-else"})
    event(root, "feature_flag.evaluation", EVALUATED)
    told.span("chat", CHAT, parent=root)
    (record,) = translator().take(SPANS, told.value, 0, 0.0).traces
    assert record["unit_id"] == "user-7"
    assert record["trace_id"] == TRACE.hex()
