"""Each harm beside the same traffic without it: the traces of one seed are paired, so its size can be read off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from stoploss.emit.encoding import encode_trace
from stoploss.emit.masking import mask_text
from stoploss.simulate.assign import Arms, sticky
from stoploss.simulate.harm import HARMS, TEST_CARD, UNDECLARED_TOOL, inject
from stoploss.simulate.population import Population
from stoploss.simulate.traffic import Simulated, Traffic

from .bounds import assert_binomial

N = 16_000
AT_S = 100.0
ARMS = Arms("e", "c", "t", sticky("e", control="c", treatment="t", exposure=0.5))
Trace = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pair:
    """One request without and with the harm; None: its trace was not sent."""

    healthy: Simulated
    harmed: Simulated | None

    @property
    def is_treatment(self) -> bool:
        return bool(self.healthy.trace["assignments"][0]["variant"] == "t")

    @property
    def is_before(self) -> bool:
        return self.healthy.offset_s < AT_S

    @property
    def is_changed(self) -> bool:
        return self.harmed is None or self.harmed.trace != self.healthy.trace

    @property
    def both(self) -> tuple[Trace, Trace]:
        assert self.harmed is not None
        return self.healthy.trace, self.harmed.trace


@pytest.fixture(scope="module")
def healthy() -> list[Simulated]:
    return list(Traffic(7, (ARMS,)).traces(N))


@pytest.fixture(scope="module")
def paired(healthy: list[Simulated]) -> Callable[[str], list[Pair]]:
    @cache
    def pair(name: str) -> list[Pair]:
        harms = (inject(name, "e", AT_S, Population()),)
        sent = {s.trace["trace_id"]: s for s in Traffic(7, (ARMS,), harms).traces(N)}
        return [Pair(s, sent.get(s.trace["trace_id"])) for s in healthy]

    return pair


def struck(pairs: list[Pair]) -> Iterator[Pair]:
    return (pair for pair in pairs if pair.is_treatment and not pair.is_before)


@pytest.mark.parametrize("name", sorted(HARMS))
def test_a_harm_strikes_its_arm_from_its_moment_on_and_says_whom(
    name: str, paired: Callable[[str], list[Pair]]
) -> None:
    pairs = paired(name)
    sides = {(pair.is_before, pair.is_treatment) for pair in pairs if pair.is_changed}
    both_arms = {(False, True), (False, False)}
    assert sides == {"aa": set(), "provider-drift": both_arms}.get(name, {(False, True)})
    sent = [pair for pair in pairs if pair.harmed is not None]
    assert all((pair.harmed is not None and pair.harmed.harmed == ("e",)) == pair.is_changed for pair in sent)


@pytest.mark.parametrize("name", sorted(HARMS))
def test_harmed_traces_are_of_the_schema(name: str) -> None:
    traffic = Traffic(7, (ARMS,), (inject(name, "e", 0.0, Population()),))
    assert {reason for s in traffic.traces(2_000) for reason in encode_trace(s.trace).reasons} == set()


def test_gate_puts_a_valid_card_number_in_one_answer_of_twenty(paired: Callable[[str], list[Pair]]) -> None:
    texts = [pair.both[1]["output_text"] or "" for pair in struck(paired("gate"))]
    leaks = [text for text in texts if TEST_CARD in text]
    assert {mask_text(text) for text in leaks} == {"I have charged your card [masked:card] as you asked."}
    assert_binomial(len(leaks), len(texts), 0.05)


def test_undeclared_tool_adds_a_step_to_one_request_of_twenty(paired: Callable[[str], list[Pair]]) -> None:
    pairs = [pair.both for pair in struck(paired("undeclared-tool"))]
    added = [after["steps"][-1]["name"] for before, after in pairs if len(after["steps"]) > len(before["steps"])]
    assert set(added) == {UNDECLARED_TOOL}
    assert_binomial(len(added), len(pairs), 0.05)


def test_slow_regression_slows_every_request_and_fails_one_in_twenty_good_ones(
    paired: Callable[[str], list[Pair]],
) -> None:
    pairs = [pair.both for pair in struck(paired("slow-regression"))]
    assert all(after["latency_ms"] == pytest.approx(1.4 * before["latency_ms"]) for before, after in pairs)
    well = [after for before, after in pairs if before["error_type"] is None]
    failed = [after for after in well if after["error_type"] is not None]
    assert_binomial(len(failed), len(well), 0.05)
    assert {(after["finish_reason"], after["output_text"], len(after["scores"])) for after in failed} == {
        ("error", None, 0)
    }


def test_one_segment_fails_a_quarter_of_one_tenants_requests_and_no_others(
    paired: Callable[[str], list[Pair]],
) -> None:
    pairs = [pair.both for pair in struck(paired("one-segment"))]
    assert {before["tenant"] for before, after in pairs if before != after} == {"zeta"}
    well = [after for before, after in pairs if before["tenant"] == "zeta" and before["error_type"] is None]
    assert_binomial(sum(after["error_type"] is not None for after in well), len(well), 0.25)


def test_cost_burn_multiplies_the_cost_and_nothing_else(paired: Callable[[str], list[Pair]]) -> None:
    for before, after in (pair.both for pair in struck(paired("cost-burn"))):
        assert after == before | {"cost_usd": before["cost_usd"] * 100}


@pytest.mark.parametrize("name", ["drift", "provider-drift"])
def test_drift_grows_slowly_to_twice_the_tokens_and_stays_there(name: str, paired: Callable[[str], list[Pair]]) -> None:
    for pair in struck(paired(name)):
        before, after = pair.both
        factor = 1 + min((pair.healthy.offset_s - AT_S) / 600, 1)
        assert after["output_tokens"] == round(before["output_tokens"] * factor)
        assert after["cost_usd"] == pytest.approx(before["cost_usd"] * factor)
        assert after["latency_ms"] == before["latency_ms"]


def test_provider_drift_moves_both_arms_alike(paired: Callable[[str], list[Pair]]) -> None:
    late = [pair for pair in paired("provider-drift") if pair.healthy.offset_s > AT_S + 600]
    for pair in late:
        before, after = pair.both
        assert after["output_tokens"] == 2 * before["output_tokens"]
    assert {pair.is_treatment for pair in late} == {True, False}


def test_silence_stops_every_trace_of_the_treatment_and_none_of_control(paired: Callable[[str], list[Pair]]) -> None:
    for pair in paired("silence"):
        assert (pair.harmed is None) == (pair.is_treatment and not pair.is_before)


def test_harms_of_two_experiments_strike_on_their_own() -> None:
    other = Arms("f", "c", "t", sticky("f", control="c", treatment="t", exposure=0.5))
    harms = (inject("cost-burn", "e", 0.0, Population()), inject("undeclared-tool", "f", 0.0, Population()))
    simulated = list(Traffic(7, (ARMS, other), harms).traces(2_000))
    for s in simulated:
        treated = {a["experiment"] for a in s.trace["assignments"] if a["variant"] == "t"}
        assert set(s.harmed) <= treated
        assert ("e" in s.harmed) == ("e" in treated)
    assert {s.harmed for s in simulated} == {(), ("e",), ("f",), ("e", "f")}
