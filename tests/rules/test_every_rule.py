"""What every rule promises. Listing a class in rules.RULES is testing it here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoploss import snapshot, trees
from stoploss.errors import MalformedRecord
from stoploss.evidence import MAX_ROWS, block_columns
from stoploss.experiment import SERVED_INSTEAD
from stoploss.folding import moment_of
from stoploss.ledger import EvidenceBlock
from stoploss.metrics import LARGEST, METRICS, MISSING, UNDECLARED_SERVING
from stoploss.rules import RULES, AnyRule, rules_of, rules_version, state_type
from stoploss.rules.rows import Asked, Moment
from stoploss.spec.file import parse_experiment
from stoploss.state import PartitionState
from tests.timelines import EVERY_RULE, SECRET, Timeline, Traces, bytes_of, merged, refolded, spec, stored, traces

KINDS = sorted(RULES, key=lambda kind: kind.__name__)


def traffic(n: int, seed: int) -> Traces:
    """Rows with what real ones have: two tenants, a language that some lack, a metric that some lack."""
    half = n // 2
    some = merged(
        traces(half, seed=seed, users=400, tenant="acme", language="de"),
        traces(n - half, seed=seed + 1, users=400, population=1, error_rate=(0.05, 0.06), tenant="zeta"),
    )
    rng = np.random.default_rng(seed)
    some.metrics["latency_ms:log"][rng.random(n) < 0.2] = MISSING
    some.metrics["resolved"] = np.where(rng.random(n) < 0.5, rng.integers(0, 2, n) * 1_000_000, MISSING)
    some.metrics["refusal_rate"] = (rng.random(n) < 0.03).astype(np.int64)
    some.metrics["helpfulness"] = np.where(rng.random(n) < 0.7, rng.integers(0, 1_000_000, n), MISSING)
    some.metrics["regrade"] = np.where(rng.random(n) < 0.2, rng.integers(-50_000, 50_000, n), MISSING)
    some.metrics["judge-agrees"] = np.where(rng.random(n) < 0.2, (rng.random(n) < 0.9) * 1_000_000, MISSING)
    some.segments["language"] = [("de", "en", "fr")[i] for i in rng.integers(0, 3, n)]
    some.segments["experiment:ranking"] = [("v1", "v2")[i] for i in rng.integers(0, 2, n)]
    some.metrics[UNDECLARED_SERVING] = (rng.random(n) < 0.004).astype(np.int64)
    some.segments[SERVED_INSTEAD] = [("model a", "model b")[i] for i in rng.integers(0, 2, n)]
    return some


def begun(rows: int = 3_000) -> Timeline:
    """A run with every rule, in the middle of its traffic."""
    timeline = Timeline(spec(EVERY_RULE)).started()
    for second in range(3):
        timeline.seconds(1)
        timeline.traces(traffic(rows // 3, seed=second), block_rows=170)
    return timeline


def rules_of_kind(timeline: Timeline, kind: type) -> list[AnyRule]:
    return [rule for rule in rules_of(timeline.experiment) if type(rule) is kind]


def test_the_spec_of_these_tests_has_every_rule() -> None:
    assert {type(rule) for rule in rules_of(parse_experiment(spec(EVERY_RULE)))} == set(RULES)


@pytest.mark.parametrize("kind", KINDS)
def test_keys_are_distinct_and_the_state_is_of_the_listed_class(kind: type) -> None:
    timeline = begun(300)
    keys = [rule.key for rule in rules_of(timeline.experiment)]
    assert len(set(keys)) == len(keys)
    for rule in rules_of_kind(timeline, kind):
        assert state_type(rule) is RULES[kind]
        assert type(rule.initial()) is RULES[kind]
        assert f"{kind.__name__}@{rule.version}" in rules_version()


def test_every_kind_of_state_has_a_name_of_its_own() -> None:
    """Snapshots tell states apart by the name of their class."""
    assert len({state.__name__ for state in RULES.values()}) == len(RULES)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_survives_a_save_and_restore_in_mid_stream(kind: type) -> None:
    timeline = begun()
    for rule in rules_of_kind(timeline, kind):
        state = timeline.it.current.rules[rule.key]
        saved = snapshot.dump(state, SECRET)
        restored = snapshot.load(state_type(rule), saved, SECRET)
        assert snapshot.dump(restored, SECRET) == saved


def test_all_that_follows_a_restore_is_as_if_there_had_been_none() -> None:
    """Saved and restored before every third entry, among them entries in the middle of a second."""
    timeline = begun(2_000)
    timeline.seconds(1)
    timeline.traces(traces(2_000, seed=77, users=3_000, error_rate=(0.02, 0.4), tenant="acme"), block_rows=300)
    timeline.seconds(2)
    assert len(timeline.commands) > 1
    state, outputs = PartitionState(0), []
    for entry in timeline.entries:
        if entry.offset % 3 == 0:
            state = snapshot.load(PartitionState, stored(state), SECRET)
        outputs += refolded([entry], state)
    assert bytes_of(outputs) == bytes_of(timeline.outputs)
    assert stored(state) == stored(timeline.state)


def cuts(rows: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(1, rows - 1), max_size=12, unique=True).map(sorted)


def folded(some: Traces, at: list[int], settle_after: int | None) -> list[bytes]:
    """What is folded of two seconds of traffic, each cut at the given rows; also saved once in between.

    Without what was said: rules are looked at with every entry, so where a verdict changes may be another entry.
    """
    timeline = Timeline(spec(EVERY_RULE)).started()
    for _ in range(2):
        timeline.seconds(1)
        [whole] = timeline.blocks(some, block_rows=some.rows)
        for number, block in enumerate(_cut(timeline, some, at, whole.offset)):
            timeline.append(block)
            if number == settle_after:
                stored(timeline.state)
    timeline.seconds(1)
    it = timeline.it
    assert len(timeline.commands) == 1
    parts = (replace(it.current, verdicts={}), it.seen, it.cap, it.outcome_cap)
    return [
        *(snapshot.dump(part, SECRET) for part in parts),
        it.recent.to_plain().tobytes(),
        repr(it.watermarks).encode(),
    ]


def _cut(timeline: Timeline, some: Traces, at: list[int], offset: bytes) -> Iterator[EvidenceBlock]:
    offsets = np.frombuffer(offset, "<i8")
    for start, end in zip([0, *at], [*at, some.rows], strict=True):
        yield timeline._block(some, np.arange(start, end), offsets, {})


SOME = traffic(900, seed=5)


@cache
def uncut() -> list[bytes]:
    return folded(SOME, [], None)


@settings(derandomize=True, deadline=None, database=None, max_examples=25)
@given(at=cuts(SOME.rows), settle_after=st.one_of(st.none(), st.integers(0, 5)))
def test_how_rows_are_cut_into_blocks_and_when_they_are_saved_changes_no_bit(
    at: list[int], settle_after: int | None
) -> None:
    assert folded(SOME, at, settle_after) == uncut()


@cache
def sizes_by_kind() -> dict[str, tuple[int, int]]:
    """Bytes of each kind's states after 5 blocks of new units and values, and after ten times as many."""
    timeline, sizes = Timeline(spec(EVERY_RULE)).started(), []
    for number in range(50):
        some = traces(2_000, seed=number, users=2_000, population=number, cost_usd=1e-6)
        some.segments = {"tenant": [f"t{number}-{row}" for row in range(2_000)], "language": ["de"] * 2_000}
        timeline.seconds(1)
        timeline.traces(some, block_rows=2_000)
        if number in (4, 49):
            sizes.append({kind.__name__: size_of(timeline, kind) for kind in KINDS})
    assert len(timeline.commands) == 1
    return {name: (sizes[0][name], sizes[1][name]) for name in sizes[0]}


# What a rule may hold once it is full, where the traffic above does not fill it: its own constants, in bytes.
FULL = {
    "SampleRatio": 8_192 * 40,
    "Drift": 2 * 512 * 60,
    "BudgetRule": 3 * (4_320 * 40 + 1_024 * 20),
    "MixDrift": 60 * (32 * 4 + 20) + 5_000,
    "OverExposure": 60 * 40,
    "CoverageRule": 4_096 * 100 + 2 * 256 * 20,
}


@pytest.mark.parametrize("kind", KINDS)
def test_memory_does_not_grow_with_ten_times_the_rows_units_and_values(kind: type) -> None:
    before, after = sizes_by_kind()[kind.__name__]
    assert after <= max(1.05 * before + 1_000, FULL.get(kind.__name__, 0))


def size_of(timeline: Timeline, kind: type) -> int:
    return sum(uncompressed(timeline.it.current.rules[rule.key]) for rule in rules_of_kind(timeline, kind))


def uncompressed(state: object) -> int:
    arrays: list[np.ndarray] = []
    tree = trees.written(state, arrays)
    return len(repr(tree)) + sum(array.nbytes for array in arrays)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rule_says_the_same_when_it_is_asked_twice(kind: type) -> None:
    """What people read must not depend on how often somebody looked."""
    timeline = begun()
    timeline.seconds(1)
    for rule in rules_of_kind(timeline, kind):
        state = timeline.it.current.rules[rule.key]
        moment = moment_at(timeline)
        first, second = (
            [replace(verdict, told=verdict.evidence) for verdict in rule.judge(state, moment)] for _ in "ab"
        )
        assert second == first
        assert first
        assert len({verdict.stream for verdict in first}) == len(first)


def moment_at(timeline: Timeline) -> Moment:
    return moment_of(timeline.it, timeline.at, True, tuple(timeline.it.current.dimensions), Asked.ALL)


def test_rules_are_judged_in_the_order_gates_guardrails_regressions_budgets_drift_health() -> None:
    kinds = [rule.kind for rule in rules_of(parse_experiment(spec(EVERY_RULE)))]
    assert list(dict.fromkeys(kinds)) == [
        "gate",
        "guardrail",
        "regression",
        "budget",
        "forecast",
        "drift",
        "mix_drift",
        "interaction",
        "declared",
        "judge_drift",
        "audit",
        "alignment",
        "sample_ratio",
        "over_exposure",
        "silence",
        "coverage",
        "rejects",
        "unresolved",
        "uncounted",
        "overdue",
        "objective",
    ]


# ---- garbage never reaches a rule ------------------------------------------------------------------


def good() -> Timeline:
    return Timeline(spec(EVERY_RULE)).started()


@pytest.mark.parametrize("name", ["source", "offset", "unit", "trace", "variant", "at", "start", "stamp_run", "gates"])
@pytest.mark.parametrize("change", [-1, 1])
def test_a_column_of_another_length_is_refused_by_name(name: str, change: int) -> None:
    [block] = good().blocks(traces(10, seed=1))
    packed = getattr(block, name)
    other = packed[:change] if change < 0 else packed + b"\0"
    changed: dict[str, Any] = {name: other}
    with pytest.raises(MalformedRecord, match=f"'checkout' has {len(other)} bytes in column '{name}'; 10 rows take"):
        block_columns(replace(block, **changed))


@pytest.mark.parametrize("value", [LARGEST + 1, -LARGEST - 1, 2**62, MISSING + 1])
def test_a_metric_beyond_the_bound_of_exact_sums_is_refused(value: int) -> None:
    some = traces(10, seed=1)
    some.metrics["latency_ms"][3] = value
    [block] = good().blocks(some)
    with pytest.raises(MalformedRecord, match="'latency_ms' beyond"):
        block_columns(block)


@pytest.mark.parametrize("value", [2, 7, -1])
def test_a_rate_that_is_neither_0_nor_1_is_refused(value: int) -> None:
    """The statistics would refuse it in the middle of a fold, where nothing can be done about it any more."""
    some = traces(10, seed=1)
    some.metrics["error_rate"][3] = value
    [block] = good().blocks(some)
    with pytest.raises(MalformedRecord, match="'error_rate' beyond 0 to 1"):
        block_columns(block)


def test_a_logarithm_and_a_score_may_be_negative() -> None:
    some = traces(10, seed=1)
    some.metrics["latency_ms:log"][:] = -5_000_000
    some.metrics["resolved"] = np.full(10, -1)
    [block] = good().blocks(some)
    assert block_columns(block).metrics["resolved"].tolist() == [-1] * 10


@pytest.mark.parametrize("bits", [float("nan"), float("inf"), -float("inf"), 1e308])
def test_floats_that_are_no_numbers_are_refused_where_integers_belong(bits: float) -> None:
    """Their bit patterns, read as integers, lie far beyond the bound."""
    some = traces(10, seed=1)
    some.metrics["latency_ms"][3] = np.float64(bits).view(np.int64)
    [block] = good().blocks(some)
    with pytest.raises(MalformedRecord, match="beyond"):
        block_columns(block)


@pytest.mark.parametrize("rows", [0, -1, MAX_ROWS + 1])
def test_a_block_has_one_to_8192_rows(rows: int) -> None:
    [block] = good().blocks(traces(10, seed=1))
    with pytest.raises(MalformedRecord, match=f"has {rows} rows; a block has 1 to 8192"):
        block_columns(replace(block, rows=rows))


def test_codes_that_name_nothing_are_refused() -> None:
    [block] = good().blocks(traces(4, seed=1, tenant="acme"))
    tenant = block.segments[0]
    for bad, why in (
        (replace(block, source=bytes([0, 1, 0, 0])), "names source 1; it lists 1"),
        (replace(block, variant=bytes([0, 1, 2, 0])), "variant codes"),
        (replace(block, gates=np.array([0, 1 << 9, 0, 0], "<u4").tobytes(), gate_details=("x",)), "gate bits"),
        (replace(block, gates=np.array([0, 1, 0, 0], "<u4").tobytes()), "0 gate details for 1 rows"),
        (replace(block, segments=(replace(tenant, codes=np.array([0, 1, 0, 0], "<u2").tobytes()),)), "beyond its 1"),
    ):
        with pytest.raises(MalformedRecord, match=why):
            block_columns(bad)


def test_every_metric_fits_beside_the_largest_of_its_kind_in_one_exact_sum() -> None:
    """8,192 rows of the largest value stay below 2**53, where float64 stops counting."""
    assert MAX_ROWS * LARGEST < 2**53
    assert len(METRICS) > 0
