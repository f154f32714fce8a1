from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from stoploss.emit.encoding import encode_trace
from stoploss.emit.masking import mask_text
from stoploss.errors import ConfigurationError
from stoploss.simulate.assign import Arms, Assigned, arms_of, position, sticky
from stoploss.simulate.behaviour import Behaviour
from stoploss.simulate.harm import HARMS, inject
from stoploss.simulate.population import Population
from stoploss.simulate.traffic import DAY_S, Simulated, Traffic
from stoploss.spec.file import parse_experiment

from .bounds import ONE_IN_A_MILLION, assert_binomial

N = 20_000
EXAMPLE = Path(__file__).parents[2] / "examples" / "checkout-agent-model.yaml"


def by_hash(experiment: str = "e", exposure: float = 0.5) -> Arms:
    return Arms(experiment, "c", "t", sticky(experiment, control="c", treatment="t", exposure=exposure))


def drawn(seed: int = 7, n: int = N, arms: tuple[Arms, ...] = (by_hash(),), **options: object) -> list[Simulated]:
    return list(Traffic(seed, arms, **options).traces(n))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def healthy() -> list[Simulated]:
    return drawn()


def test_the_same_seed_gives_the_same_traffic_in_any_batch_size() -> None:
    one_by_one = drawn(n=3_000)
    for size in (1, 7, 5_000):
        batches = Traffic(7, (by_hash(),)).batches(3_000, size)
        assert list(itertools.chain.from_iterable(batches)) == one_by_one


def test_another_seed_gives_other_traffic() -> None:
    here, there = drawn(seed=7, n=500), drawn(seed=8, n=500)
    assert not {s.trace["trace_id"] for s in here} & {s.trace["trace_id"] for s in there}
    assert [s.trace["latency_ms"] for s in here] != [s.trace["latency_ms"] for s in there]


def test_ids_are_unique_and_times_rise(healthy: list[Simulated]) -> None:
    assert len({s.trace["trace_id"] for s in healthy}) == N
    assert all(before.offset_s < after.offset_s for before, after in itertools.pairwise(healthy))
    assert [s.trace["at"] for s in healthy] == [round(s.offset_s * 1e6) for s in healthy]


def test_every_trace_is_of_the_schema_and_holds_no_personal_data(healthy: list[Simulated]) -> None:
    assert {reason for s in healthy for reason in encode_trace(s.trace).reasons} == set()
    texts = {s.trace["output_text"] for s in healthy} - {None}
    assert len(texts) == 5
    assert {mask_text(text) for text in texts} == texts


def test_shares_are_those_of_the_behaviour(healthy: list[Simulated]) -> None:
    traces = [s.trace for s in healthy]
    well = [trace for trace in traces if trace["error_type"] is None]
    assert_binomial(N - len(well), N, 0.02)
    assert_binomial(sum(t["finish_reason"] == "content_filter" for t in well), len(well), 0.005)
    assert_binomial(sum(bool(t["scores"]) for t in well), len(well), 0.9)
    assert_binomial(sum(t["output_text"] is not None for t in well), len(well), 0.1)
    assert_binomial(sum(bool(t["steps"]) for t in traces), N, 0.25)
    assert_binomial(sum(t["cached_tokens"] > 0 for t in traces), N, 0.2)


def test_tokens_have_the_published_medians(healthy: list[Simulated]) -> None:
    """Half of the requests lie below the median: an exact binomial test of it."""
    assert_binomial(sum(s.trace["input_tokens"] < 1_020 for s in healthy), N, 0.5)
    assert_binomial(sum(s.trace["output_tokens"] < 129 for s in healthy), N, 0.5)


def test_latency_follows_the_output_tokens(healthy: list[Simulated]) -> None:
    tokens = [s.trace["output_tokens"] for s in healthy]
    rank = stats.spearmanr(tokens, [s.trace["latency_ms"] for s in healthy]).statistic
    assert rank > 0.9
    assert all(s.trace["time_to_first_token_ms"] < s.trace["latency_ms"] for s in healthy)


def test_requests_of_one_user_are_alike_by_the_declared_share_of_variance() -> None:
    behaviour = Behaviour(per_output_token_ms=0, per_input_token_ms=0)
    traces = [s.trace for s in drawn(population=Population(users=200, zipf_exponent=0, icc=0.3), behaviour=behaviour)]
    of_user: dict[str, list[float]] = {}
    for trace in traces:
        of_user.setdefault(trace["unit_id"], []).append(math.log(trace["latency_ms"]))
    within = np.mean([np.var(values, ddof=1) for values in of_user.values()])
    between = np.var([np.mean(values) for values in of_user.values()], ddof=1)
    assert between / (within + between) == pytest.approx(0.3, abs=0.06)


def test_busy_users_ask_in_proportion_to_their_rank() -> None:
    population = Population(users=1_000, zipf_exponent=1.0)
    asked = Counter(s.trace["unit_id"] for s in drawn(population=population))
    harmonic = sum(1 / k for k in range(1, 1_001))
    for rank in (1, 2, 10):
        assert_binomial(asked[f"user-{rank - 1:06d}"], N, 1 / rank / harmonic)


def test_a_user_keeps_variant_tenant_language_and_channel(healthy: list[Simulated]) -> None:
    seen: dict[str, set[tuple[str, ...]]] = {}
    for trace in (s.trace for s in healthy):
        segments = (trace["assignments"][0]["variant"], trace["tenant"], trace["language"], trace["channel"])
        seen.setdefault(trace["unit_id"], set()).add(segments)
    assert len(seen) > 1_000
    assert {len(segments) for segments in seen.values()} == {1}


@pytest.mark.parametrize("exposure", [0.0, 0.05, 0.5, 1.0])
def test_the_treatment_gets_its_share_of_users_and_keeps_them_as_the_share_grows(exposure: float) -> None:
    users = [f"user-{number:06d}" for number in range(20_000)]
    assign = sticky("e", control="c", treatment="t", exposure=exposure)
    treated = {user for user in users if assign(user).variant == "t"}
    assert_binomial(len(treated), len(users), exposure)
    wider = sticky("e", control="c", treatment="t", exposure=min(1.0, exposure + 0.1))
    assert all(wider(user).variant == "t" for user in treated)


def test_two_experiments_assign_independently() -> None:
    users = [f"user-{number:06d}" for number in range(20_000)]
    both = sum(position("e", user) < 0.5 and position("f", user) < 0.5 for user in users)
    assert_binomial(both, len(users), 0.25)


def test_a_request_takes_part_in_every_experiment(healthy: list[Simulated]) -> None:
    two = drawn(n=100, arms=(by_hash("e"), by_hash("f")))
    assert [[a["experiment"] for a in s.trace["assignments"]] for s in two] == [["e", "f"]] * 100
    assert [s.trace["assignments"][0] for s in two] == [s.trace["assignments"][0] for s in healthy[:100]]


def test_a_flag_that_flips_is_felt_by_the_next_batch_and_changes_nothing_else() -> None:
    release = Assigned("t", run=1, epoch=2)
    arms = Arms("e", "c", "t", lambda _unit: release, control_model="m", treatment_model="m")
    batches = Traffic(7, (arms,)).batches(size=50)
    before = next(batches)
    release = Assigned("c", run=1, epoch=3)
    after = next(batches)
    assert {(a["variant"], a["epoch"]) for s in before for a in s.trace["assignments"]} == {("t", 2)}
    assert {(a["variant"], a["epoch"]) for s in after for a in s.trace["assignments"]} == {("c", 3)}
    unflipped = drawn(n=100, arms=(Arms("e", "c", "t", lambda _unit: release, "m", "m"),))
    for simulated, alike in zip([*before, *after], unflipped, strict=True):
        assert simulated.trace | {"assignments": []} == alike.trace | {"assignments": []}


def test_requests_arrive_at_the_rate_that_was_asked_for() -> None:
    last_s = drawn(rate_per_s=50.0)[-1].offset_s
    low, high = stats.gamma.interval(1 - 2 * ONE_IN_A_MILLION, N, scale=1 / 50)
    assert low < last_s < high


def test_a_daily_swing_makes_the_morning_busier_than_the_evening() -> None:
    swinging = drawn(rate_per_s=N / DAY_S, daily_swing=0.8)
    morning = sum(s.offset_s < DAY_S / 2 for s in swinging)
    evening = sum(DAY_S / 2 <= s.offset_s < DAY_S for s in swinging)
    assert_binomial(morning, morning + evening, 0.5 + 0.8 / math.pi)


def test_the_example_experiment_gets_traffic_within_what_its_variants_declare() -> None:
    experiment = parse_experiment(EXAMPLE.read_text())
    arms = arms_of(experiment, exposure=0.5)
    traces = [s.trace for s in drawn(n=2_000, arms=(arms,))]
    assert {t["model"] for t in traces} == {"large-2", "small-1"}
    steps = [step for t in traces for step in t["steps"]]
    assert {(s["name"], s["scope"], s["mcp_server"]) for s in steps} == {("search", "catalog.read", "catalog")}
    cost = {v: [t["cost_usd"] for t in traces if t["assignments"][0]["variant"] == v] for v in ("current", "small")}
    assert np.mean(cost["small"]) / np.mean(cost["current"]) == pytest.approx(1 / 3, rel=0.15)


@pytest.mark.parametrize(("options", "says"), [({"rate_per_s": 0.0}, "rate"), ({"daily_swing": 1.0}, "swing")])
def test_a_rate_that_cannot_be_is_refused(options: dict[str, float], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Traffic(7, (by_hash(),), **options)  # type: ignore[arg-type]


def test_harm_in_an_experiment_without_arms_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"\['f'\]"):
        Traffic(7, (by_hash("e"),), (inject("gate", "f", 0.0, Population()),))


def test_a_harm_that_nobody_knows_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"'sabotage' is no harm.*gate.*silence"):
        inject("sabotage", "e", 0.0, Population())
    assert all(harm.description for harm in HARMS.values())
