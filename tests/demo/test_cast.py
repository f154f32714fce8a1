"""The cast: specs that are valid, harm that is known, and traffic that its seed decides."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stoploss.demo.cast import CAST, HEADLINE, Part
from stoploss.demo.services import DRAWN, Plan, traffic_of
from stoploss.simulate.arrivals import read_arrivals
from stoploss.simulate.assign import Assign, Assigned, sticky
from stoploss.simulate.harm import HARMS
from stoploss.simulate.traffic import Simulated
from stoploss.spec.checks import not_enforced_yet

LOG = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:16:06.6805900,879,55
"""


def half(part: Part) -> Assign:
    experiment = part.experiment
    return sticky(experiment.name, control=experiment.control.name, treatment=experiment.treatment.name, exposure=0.5)


def drawn(plan: Plan, assign: Callable[[Part], Assign] = half) -> Iterator[Simulated]:
    return traffic_of(plan, assign, 1_700_000_000.0).traces(plan.total)


@pytest.mark.parametrize("part", CAST, ids=lambda part: part.file)
def test_a_part_has_a_valid_spec_all_of_which_is_enforced_and_a_known_harm(part: Part) -> None:
    assert part.experiment.name == part.file.removesuffix(".yaml")
    assert not_enforced_yet(part.experiment) == []
    assert part.harm in HARMS


def test_the_headline_is_the_part_whose_first_harmful_trace_is_enough() -> None:
    assert HEADLINE in CAST
    assert HEADLINE.harm == "gate"


def test_the_same_seed_is_the_same_traffic_with_the_same_harm() -> None:
    plan = Plan(traces=1_000, seed=7, seconds=10.0)
    first, second = list(drawn(plan)), list(drawn(plan))
    assert first == second
    assert {name for simulated in first for name in simulated.harmed} == {
        part.experiment.name for part in CAST if part.harm != "aa"
    }


def test_another_seed_is_another_traffic() -> None:
    first, second = (next(drawn(Plan(traces=1_000, seed=seed, seconds=10.0))) for seed in (7, 8))
    assert first.trace["trace_id"] != second.trace["trace_id"]
    assert first.trace["latency_ms"] != second.trace["latency_ms"]


def test_harm_begins_when_the_part_says_and_strikes_the_treatment_alone() -> None:
    plan = Plan(traces=2_000, seed=1, seconds=20.0)
    for part in CAST:
        name, treatment = part.experiment.name, part.experiment.treatment.name
        harmed = [simulated for simulated in drawn(plan) if name in simulated.harmed]
        assert all(simulated.offset_s >= part.after * plan.seconds for simulated in harmed)
        assert all(variant_of(simulated, name) == treatment for simulated in harmed)


def variant_of(simulated: Simulated, experiment: str) -> str:
    return next(str(a["variant"]) for a in simulated.trace["assignments"] if a["experiment"] == experiment)


def test_a_flag_that_flips_is_felt_by_the_next_request() -> None:
    """Assignments are asked when a trace is made, one by one: nobody is served by an old answer."""
    share = {"exposure": 1.0}

    def following(part: Part) -> Assign:
        experiment = part.experiment
        control, treatment = experiment.control.name, experiment.treatment.name

        def assign(unit_id: str) -> Assigned:
            return sticky(experiment.name, control=control, treatment=treatment, **share)(unit_id)

        return assign

    name = HEADLINE.experiment.name
    traffic = drawn(Plan(traces=1_000, seed=1, seconds=10.0), following)
    assert {variant_of(s, name) for s in itertools.islice(traffic, 5)} == {HEADLINE.experiment.treatment.name}
    share["exposure"] = 0.0
    assert {variant_of(s, name) for s in itertools.islice(traffic, 5)} == {HEADLINE.experiment.control.name}


def test_a_request_log_gives_times_and_tokens_and_its_label_says_what_is_real(tmp_path: Path) -> None:
    (tmp_path / "requests.csv").write_text(LOG)
    plan = Plan(traces=9, seed=1, seconds=10.0, log=read_arrivals(tmp_path / "requests.csv"))
    traces = list(drawn(plan))
    assert plan.total == 3
    assert [simulated.trace["input_tokens"] for simulated in traces] == [374, 396, 879]
    assert [simulated.offset_s for simulated in traces] == pytest.approx([0.0, 2.1572895, 10.0], abs=1e-5)
    assert plan.label == (
        "3 requests of requests.csv: arrival times and token counts are real, time compressed 2 times; users, "
        "segments, latency, cost, scores, assignment and harm are drawn from the seed"
    )


def test_without_a_log_the_label_says_that_everything_is_drawn() -> None:
    assert Plan(traces=1_000, seed=1, seconds=10.0).label == DRAWN
