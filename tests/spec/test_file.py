from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stoploss.errors import InvalidExperiment
from stoploss.resources import data_path
from stoploss.rules import rules_of
from stoploss.spec.checks import not_enforced_yet
from stoploss.spec.file import LARGEST_SPEC_BYTES, parse_experiment
from tests.timelines import SPEC, spec

GUARDRAIL = "guardrails: [{metric: METRIC, direction: DIRECTION, margin: {MARGIN}}]"
BUDGET = "budgets: [{metric: cost_usd, limit: LIMIT, period: PERIOD, actions: [{burn: BURN, do: stop}]}]"


def violations(text: str) -> list[str]:
    with pytest.raises(InvalidExperiment) as refused:
        parse_experiment(text, "experiment.yaml")
    assert str(refused.value).startswith("experiment.yaml is refused: ")
    return [str(violation) for violation in refused.value.violations]


def guardrail(metric: str, direction: str, margin: str, more: str = "") -> str:
    text = GUARDRAIL.replace("METRIC", metric).replace("DIRECTION", direction).replace("MARGIN", margin)
    return spec(text.replace("}}]", f"}}{more}}}]"))


def budget(limit: str = "500", period: str = "24h", burn: str = "14.4") -> str:
    return spec(BUDGET.replace("LIMIT", limit).replace("PERIOD", period).replace("BURN", burn))


# One line each: what is wrong, and how the first words of its violation read.
FAULTS = {
    "an unknown field": (spec("guardrial: []"), "line 15, spec.guardrial: is no field of stoploss/v1alpha1; remove it"),
    "a missing one": (
        SPEC.replace("  hypothesis: The smaller model is as good.\n", ""),
        "line 5, spec.hypothesis: is required",
    ),
    "a misspelt metric": (
        guardrail("latncy_ms", "lower", "relative: 0.1"),
        "line 15, spec.guardrails[0].metric: unknown metric 'latncy_ms'; known metrics: latency_ms, ",
    ),
    "a misspelt metric of a drift": (
        spec("drift: [{metric: tokens}]"),
        "line 15, spec.drift[0].metric: unknown metric",
    ),
    "a key given twice": (SPEC + "  unit: model\n", "line 15, unit: stands twice in one mapping; keep one"),
    "three variants": (
        SPEC.replace("  rollback:", "    - {name: third}\n  rollback:"),
        "line 10, spec.variants: ['current', 'small', 'third'] are declared; an experiment compares exactly one",
    ),
    "one variant": (
        "".join(line for line in SPEC.splitlines(keepends=True) if "name: small" not in line),
        "line 10, spec.variants: ['current'] are declared",
    ),
    "a control that is no variant": (
        SPEC.replace("control: current", "control: old"),
        "line 9, spec.assignment.control: 'old' is no variant; declared are current, small",
    ),
    "a rollback to the treatment": (
        SPEC.replace("to: current", "to: small"),
        "line 13, spec.rollback.to: 'small' is not the control variant 'current'",
    ),
    "an absolute margin on a rate": (
        guardrail("error_rate", "lower", "absolute: 0.1"),
        "line 15, spec.guardrails[0].margin: 'error_rate' is a rate; give a relative margin",
    ),
    "a logarithm of a rate": (
        guardrail("error_rate", "lower", "relative: 0.1", ", transform: log"),
        "line 15, spec.guardrails[0].transform: 'error_rate' counts 0 or 1; a logarithm",
    ),
    "an absolute margin on a logarithm": (
        guardrail("latency_ms", "lower", "absolute: 150", ", transform: log"),
        "line 15, spec.guardrails[0].margin: an absolute margin of 150.0 would be in log units and could never fire",
    ),
    "a relative margin on a score": (
        guardrail("resolved", "higher", "relative: 0.1"),
        "line 15, spec.guardrails[0].margin: 'resolved' can be 0 or below, so a share of it has no meaning",
    ),
    "a rate of which more is better": (
        guardrail("error_rate", "higher", "relative: 0.1"),
        "line 15, spec.guardrails[0].direction: 'error_rate' counts harm, so lower is better",
    ),
    "a margin that lets everything through": (
        guardrail("cached_tokens", "higher", "relative: 1.0"),
        "line 15, spec.guardrails[0].margin: a relative margin of 1.0 lets a higher-is-better metric fall to nothing",
    ),
    "two margins at once": (
        guardrail("latency_ms", "lower", "relative: 0.1, absolute: 3"),
        "line 15, spec.guardrails[0].margin: a margin is either absolute or relative",
    ),
    "an endless margin": (
        guardrail("latency_ms", "lower", "relative: .inf"),
        "line 15, spec.guardrails[0].margin.relative",
    ),
    "an unknown gate": (
        spec("gates: [pii_leaked]"),
        "line 15, spec.gates[0]: unknown gate 'pii_leaked'; known gates: pii_exposed, ",
    ),
    "no duration": (
        budget(period="a day"),
        "line 15, spec.budgets[0].period: 'a day' is no duration; write a whole number",
    ),
    "an endless duration": (budget(period="9" * 30 + "d"), "line 15, spec.budgets[0].period: "),
    "a limit below the smallest amount": (budget(limit="1e-10"), "line 15, spec.budgets[0].limit: "),
    "an endless limit": (budget(limit=".inf"), "line 15, spec.budgets[0].limit: "),
    "a burn of nothing": (budget(burn="0"), "line 15, spec.budgets[0].actions[0].burn: "),
    "a budget of a score": (
        budget().replace("cost_usd", "resolved"),
        "line 15, spec.budgets[0].metric: 'resolved' can be 0 or below, so it cannot be spent",
    ),
    "a throttle to nowhere": (
        budget().replace("do: stop", "do: throttle"),
        "line 15, spec.budgets[0].actions[0]: 'to' (a share of traffic) belongs to 'do: throttle'",
    ),
    "two actions at one burn": (
        budget().replace("do: stop}", "do: stop}, {burn: 14.4, do: pause}"),
        "line 15, spec.budgets[0].actions: burn factors [14.4, 14.4] are not distinct",
    ),
    "a parameter that ADWIN has not": (
        spec("drift: [{metric: latency_ms, params: {alpha: 0.1}}]"),
        "line 15, spec.drift[0].params.alpha: ADWIN has no parameter 'alpha'; it has delta, ",
    ),
    "a parameter out of range": (
        spec("drift: [{metric: latency_ms, params: {delta: 5}}]"),
        "line 15, spec.drift[0].params.delta: 5 is no confidence",
    ),
    "no time of day": (
        spec("windows: [{days: Mon, from: '09:00', to: '25:00'}]"),
        "line 15, spec.windows[0]: '25:00' is no time of day; write it as HH:MM",
    ),
    "stages that fall": (
        SPEC.replace("[0.5]", "[0.5, 0.1]"),
        "line 14, spec.ramp: stages [0.5, 0.1] must be above 0 and rise",
    ),
    "a dimension twice": (spec("segments: [tenant, tenant]"), "line 15, spec.segments[1]: 'tenant' is listed twice"),
    "an empty dimension": (spec("segments: ['tenant×']"), "line 15, spec.segments[0]: 'tenant×' is no dimension"),
    "weights without events": (
        spec("objective: {lambdaRisk: 5.0}"),
        "line 15, spec.objective: lambdaRisk weighs events, but no risk events are listed",
    ),
    "a bad name": (
        SPEC.replace("name: checkout,", "name: Check Out,"),
        "line 4, metadata.name: 'Check Out' is no name",
    ),
    "broken YAML": (SPEC + "  gates: [", "line 15, YAML: "),
    "an unknown tag": (spec("gates: !!python/object:os.system x"), "line 15, YAML: could not determine a constructor"),
    "an impossible date": (spec("gates: 2024-13-45"), "YAML: month must be in 1..12"),
    "a key that is a list": (spec("? [gates]\n: x"), "line 15, YAML: has a key that is no plain text"),
    "a list": ("- a\n- b\n", "line 1, file: "),
    "nothing": ("# only a comment\n", "file: is empty; see examples/checkout-agent-model.yaml"),
    "two documents": (SPEC + "---\na: b\n", "line 15, YAML: but found another document"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_refused_with_its_line_its_field_and_the_way_out(fault: str) -> None:
    text, expected = FAULTS[fault]
    found = violations(text)
    assert any(violation.startswith(expected) for violation in found), found


def test_all_faults_are_told_at_once() -> None:
    text = spec("""
        guardrails:
          - {metric: latncy_ms, direction: lower, margin: {relative: 0.1}}
          - {metric: error_rate, direction: higher, margin: {relative: 0.1}}
        gates: [nothing]""")
    assert [violation.split(":")[0] for violation in violations(text)] == [
        "line 18, spec.gates[0]",
        "line 16, spec.guardrails[0].metric",
        "line 17, spec.guardrails[1].direction",
    ]


def test_a_value_as_long_as_a_book_is_not_repeated_in_its_violation() -> None:
    [violation] = violations(SPEC.replace("unit: model", f"unit: {'x' * 50_000}"))
    assert len(violation) < 300


# ---- hostile files: none may take for ever -------------------------------------------------------


def hostile() -> dict[str, str]:
    laughs = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        laughs += f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    return {
        "a billion laughs": laughs,
        "an alias of itself": "a: &a [*a, *a]\n",
        "a mapping of itself": "a: &a {b: *a}\n",
        "deep nesting": "a: " + "[" * 40 + "]" * 40,
        "nesting without end": "a: " + "[" * 20_000,
        "a merge that multiplies": "a: &a {x: 1}\nb: {<<: [*a, *a, *a]}\n" + "c: {<<: 3}\n",
        "a number of 5,000 digits": "a: " + "9" * 5_000,
        "a NUL": "a: \0",
        "half a character": "a: \ud800",
    }


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", hostile())
def test_a_hostile_file_is_refused_and_holds_nobody_up(name: str) -> None:
    assert violations(hostile()[name])


def test_a_file_that_is_too_large_is_refused_before_it_is_read() -> None:
    [violation] = violations("#" * (LARGEST_SPEC_BYTES + 1))
    assert violation == f"file: larger than {LARGEST_SPEC_BYTES} bytes"
    assert parse_experiment(SPEC + "#" * (LARGEST_SPEC_BYTES - len(SPEC))).name == "checkout"


def test_aliases_that_only_save_typing_are_read() -> None:
    text = SPEC.replace("- {name: current, tools: [", "- {name: current, tools: &tools [", 1)
    text = text.replace(
        "- {name: small, tools: [{name: search, scopes: [catalog.read]}]}", "- {name: small, tools: *tools}"
    )
    assert "*tools" in text
    assert parse_experiment(text).spec_hash == parse_experiment(SPEC).spec_hash


# ---- the hash of a spec ------------------------------------------------------------------------------

FULL = data_path("examples", "checkout-agent-model.yaml").read_text()

SAME = {
    "a comment": FULL + "# nothing\n",
    "another order of keys": FULL.replace(
        "metadata:\n  name: checkout-agent-model\n  owner: search-team",
        "metadata:\n  owner: search-team\n  name: checkout-agent-model",
    ),
    "a default written out": FULL.replace("lambdaCost: 0.2", "lambdaCost: 0.20"),
    "the same duration": FULL.replace("period: 24h", "period: 1440m"),
    "a gate in its long form": FULL.replace("gates: [undeclared_tool", "gates: [{gate: undeclared_tool}"),
    "quotes": FULL.replace("unit: model ", 'unit: "model" '),
}
OTHER = {
    "another margin": FULL.replace("relative: 0.15", "relative: 0.16"),
    "another order of guardrails": FULL.replace(
        "guardrails:", "guardrails:\n    - {metric: steps, direction: lower, margin: {relative: 1}}"
    ),
    "another scope": FULL.replace("catalog.read", "catalog.write", 1),
    "another order of gates": FULL.replace(
        "[undeclared_tool, undeclared_mcp_server", "[undeclared_mcp_server, undeclared_tool"
    ),
    "another hypothesis": FULL.replace("a third of the cost", "half the cost"),
}


@pytest.mark.parametrize("change", SAME)
def test_equal_meaning_is_an_equal_hash(change: str) -> None:
    assert SAME[change] != FULL
    assert parse_experiment(SAME[change]).spec_hash == parse_experiment(FULL).spec_hash


@pytest.mark.parametrize("change", OTHER)
def test_another_meaning_is_another_hash(change: str) -> None:
    assert OTHER[change] != FULL
    assert parse_experiment(OTHER[change]).spec_hash != parse_experiment(FULL).spec_hash


def test_the_hash_is_the_same_in_a_process_with_another_hash_seed() -> None:
    code = f"from stoploss.spec.file import parse_experiment as p; print(p({FULL!r}).spec_hash)"
    ran = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == parse_experiment(FULL).spec_hash


# ---- what is accepted --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(data_path("examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_parses_and_gives_its_rules(path: Path) -> None:
    experiment = parse_experiment(path.read_text())
    assert len(rules_of(experiment)) >= 2


def test_the_example_says_what_this_version_does_not_do_yet() -> None:
    said = not_enforced_yet(parse_experiment(FULL))
    assert [words.split(" (")[0] for words in said] == [
        "approvals",
    ]


def test_a_bare_off_is_the_word_and_not_a_falsehood() -> None:
    """YAML 1.1 reads it as false."""
    assert parse_experiment(spec("health: {sampleRatio: off}")).spec.health.sample_ratio == "off"
