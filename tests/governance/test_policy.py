"""The organisation's policy (W4): what it asks of a spec, and of the moment at which more people are exposed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from stoploss.errors import InvalidExperiment
from stoploss.followup import MOST_SETS, CaseSet, CasesPromoted, OfflineResults, Said, fold_cases, written
from stoploss.lifecycle import RECORD
from stoploss.policy.file import parse_policy
from stoploss.policy.requirements import violations
from stoploss.policy.units import new_capabilities, units_changed
from stoploss.registry import Rechecked
from stoploss.review.overview import status_of
from stoploss.review.words import moment
from stoploss.spec.file import field_of, parse_experiment
from tests.governance.institution import DAY, POLICY_TEXT, SPEC_TEXT, House, edited
from tests.timelines import SPEC

POLICY = parse_policy(POLICY_TEXT)
RISK_MEDIUM = ("labels: {risk: medium}", "labels: {risk: high}")
OBJECTIVE = "  objective: {quality: {score: helpfulness}, lambdaCost: 0.5, STRATEGY}\n"


def found(text: str) -> list[tuple[str, str]]:
    return [(field_of(path), message) for path, message in violations(POLICY, parse_experiment(text))]


def fields_of(text: str) -> list[str]:
    return [field for field, _ in found(text)]


# ---- its file ----------------------------------------------------------------------------------------


def test_a_policy_is_refused_with_line_and_field() -> None:
    """W4"""
    text = edited(
        ("defaultRisk: medium", "defaultRisk: huge"),
        ("days: Mon-Fri", "days: Mondays"),
        text=POLICY_TEXT,
    )
    with pytest.raises(InvalidExperiment) as refused:
        parse_policy(text)
    assert [(fault.line, fault.field) for fault in refused.value.violations] == [
        (6, "spec.defaultRisk"),
        (21, "spec.riskClasses.high.windows[0]"),
    ]


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        (
            "product: 1, privacy: 1, ethics: 2",
            "product: 1, finance: 1",
            "spec.riskClasses.high.approvals.finance.[key]",
        ),
        ("largestAlpha: 0.05", "largestAlpha: 2", "spec.riskClasses.medium.largestAlpha"),
        ("require: [success", "require: [luck", "spec.require[0]"),
        ("family: wellbeing", "family: mood", "spec.metrics.helpfulness.family"),
    ],
)
def test_what_a_policy_cannot_ask_is_named(before: str, after: str, field: str) -> None:
    with pytest.raises(InvalidExperiment) as refused:
        parse_policy(edited((before, after), text=POLICY_TEXT))
    assert [fault.field for fault in refused.value.violations] == [field]


def test_assessments_are_asked_for_come_due_and_hold_the_ramp() -> None:
    """G7"""
    text = POLICY_TEXT.replace("rollback_plan, baselines]", "rollback_plan, assessments]")
    policy, spec = parse_policy(text), parse_experiment(SPEC_TEXT)
    assert [message.split(";")[0] for _, message in violations(policy, spec)] == [
        "has no 'privacy impact assessment'",
        "has no 'risk assessment'",
    ]
    assessed = SPEC_TEXT.replace(
        "baselines: [",
        "baselines: [{item: privacy impact assessment, taken: 2026-09-20, source: PIA-7}, "
        "{item: risk assessment, taken: 2026-09-20, recheckWithin: 365d, source: RA-7}, ",
    )
    house = House(spec=assessed, policy=text).approved("product", "privacy")
    assert house.ask("start") is None
    house.days(29)
    assert house.ask("ramp") == (
        "baselines are overdue: privacy impact assessment; look at them again and say `stoploss note --rechecked ITEM`"
    )
    assert house.ask("note", kind="rechecked", item="privacy impact assessment") is None
    assert house.ask("ramp") is None


def test_a_data_class_bounds_how_long_traces_stay() -> None:
    """P3"""
    policy = parse_policy(POLICY_TEXT + "  retention: {health: 30d}\n")
    declared = SPEC_TEXT.replace("model: small-1,", "model: small-1, dataClasses: [health],")
    assert violations(policy, parse_experiment(SPEC_TEXT)) == []
    at, too_long = ("spec", "privacy", "retention"), "90 days are more than data class 'health' may stay: at most 30"
    assert (at, too_long) in violations(policy, parse_experiment(declared))
    shorter = violations(policy, parse_experiment(declared + "  privacy: {retention: 30d}\n"))
    assert at not in [path for path, _ in shorter]


# ---- what it asks of a spec ----------------------------------------------------------------------------


def test_a_spec_that_meets_it_has_no_violation() -> None:
    assert found(SPEC_TEXT) == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (("labels: {risk: medium}", "labels: {risk: tiny}"), "metadata.labels.risk"),
        (("stages: [0.05, 0.2]", "stages: [0.05, 0.6]"), "spec.ramp.stages[1]"),
        (("margin: {absolute: 0.02}, alpha: 0.01", "margin: {absolute: 0.02}, alpha: 0.1"), "spec.guardrails[3].alpha"),
        (
            ("metric: helpfulness, direction: higher", "metric: helpfulness, direction: lower"),
            "spec.guardrails[3].direction",
        ),
        (("scores: [helpfulness]", "scores: [helpfulness, charm]"), "spec.scores"),
        ((", baseline: 0.71, worthwhile", ", worthwhile"), "spec.success"),
        ((", worse: roll back", ""), "spec.success.then"),
        (("  owners: {data: data-team, model: model-team, evaluation: evaluation-team}\n", ""), "spec"),
        (("  purpose: {text: To answer at a lower cost., legalBasis: legitimate interest}\n", ""), "spec"),
        ((", plan: Nothing has to be done beside the flag.", ""), "spec.rollback"),
        (("model: small-1,", "model: small-1, prompt: new@v1,"), "spec.variants"),
    ],
)
def test_each_demand_is_one_violation_at_its_field(change: tuple[str, str], field: str) -> None:
    """W4, D1 (success), G8 (owners), R3 (rollback plan), X1 (two units at once)"""
    assert fields_of(edited(change)) == [field]


def test_two_units_may_change_at_once_where_the_spec_says_so() -> None:
    """X1, X2"""
    both = edited(("model: small-1,", "model: small-1, prompt: new@v1,"))
    assert units_changed(parse_experiment(both)) == ("prompt", "model")
    assert found(edited(("unit: model", "unit: model\n  factors: [prompt, model]"), text=both)) == []


@pytest.mark.parametrize(
    ("unit", "fields"),
    [("model", []), ("prompt", []), ("workflow", ["spec", "spec"])],
)
def test_a_unit_of_change_needs_what_would_notice_it(unit: str, fields: list[str]) -> None:
    """X1: a workflow needs gates and a path."""
    text = edited(RISK_MEDIUM, ("unit: model", f"unit: {unit}\n  factors: [model]"))
    assert [field for field, words in found(text) if "a change of the" in words] == fields


def test_a_model_needs_a_guardrail_on_cost_and_one_on_quality() -> None:
    """X1, D3"""
    start, end = SPEC_TEXT.index("    - {metric: cost_usd"), SPEC_TEXT.index("  rollback: {to")
    words = [words for _, words in found(edited(RISK_MEDIUM, text=SPEC_TEXT[:start] + SPEC_TEXT[end:]))]
    assert "a change of the model needs a guardrail on quality: a score, such as 'resolved'" in words
    assert "a change of the model needs a guardrail or a budget on cost_usd" in words


def test_one_metric_of_each_family_is_watched() -> None:
    """W3"""
    start, end = SPEC_TEXT.index("    - {metric: helpfulness"), SPEC_TEXT.index("  rollback: {to")
    words = [words for _, words in found(edited(RISK_MEDIUM, text=SPEC_TEXT[:start] + SPEC_TEXT[end:]))]
    assert "no metric of the family 'wellbeing' is watched; add one, such as helpfulness" in words


CASE = f"case-{'b' * 16}"
RISKS = """  risks:
    - {harm: Wrong advice, hurts: customers, severity: high, likelihood: low, owner: ada, WATCHED recheck: 2026-12-01}
"""


@pytest.mark.parametrize(
    ("watched", "words"),
    [
        ("watchedBy: [helpfulness],", None),
        ("", "nothing watches 'Wrong advice', which is severe; name a gate or guardrail"),
        ("watchedBy: [luck],", "'luck' is neither a gate nor the metric of a guardrail of this spec"),
    ],
)
def test_a_severe_risk_is_watched_by_something_that_is_there(watched: str, words: str | None) -> None:
    """G1"""
    text = edited(RISK_MEDIUM) + RISKS.replace("WATCHED", watched)
    assert [said for field, said in found(text) if field.startswith("spec.risks")] == ([words] if words else [])


@pytest.mark.parametrize("severity", ["low", "medium", "high"])
@pytest.mark.parametrize("likelihood", ["low", "medium", "high"])
def test_a_risk_has_to_be_watched_by_its_severity_times_its_likelihood(severity: str, likelihood: str) -> None:
    """G1"""
    risks = RISKS.replace("severity: high, likelihood: low", f"severity: {severity}, likelihood: {likelihood}")
    fields = [field for field, _ in found(edited(RISK_MEDIUM) + risks.replace("WATCHED", ""))]
    wanted = severity == "high" or (severity, likelihood) == ("medium", "high")
    assert ("spec.risks[0].watchedBy" in fields) is wanted


def test_a_risk_that_an_older_ledger_let_pass_is_let_pass_in_its_replay() -> None:
    likely = HIGH.replace("severity: low, likelihood: low", "severity: medium, likelihood: high")
    house = House(edited(RISK_MEDIUM) + likely + PASSED)
    house.timeline.ask("register")
    assert house.timeline.state.experiments == {}
    house.timeline.edition = None
    assert house.ask("register") is None


@pytest.mark.parametrize(
    ("strategy", "field"),
    [
        ("lambdaRisk: 0", "spec.objective"),
        ("strategy: growth", "spec.objective.strategy"),
        ("strategy: safety, risk: [{event: refusal, weight: 1}], lambdaRisk: 5", "spec.objective.lambdaCost"),
        ("strategy: margin, risk: [{event: refusal, weight: 1}], lambdaRisk: 1", None),
    ],
)
def test_prices_are_those_of_a_named_strategy(strategy: str, field: str | None) -> None:
    """W4, D2"""
    assert fields_of(SPEC_TEXT + OBJECTIVE.replace("STRATEGY", strategy)) == ([field] if field else [])


def test_what_the_treatment_can_do_beyond_control_is_named() -> None:
    """A4"""
    refund = "[{name: search, scopes: [catalog.read]}, {name: refund, scopes: [pay], sideEffect: true}]"
    text = edited(
        (
            "{name: small, model: small-1, tools: [{name: search, scopes: [catalog.read]}]",
            f"{{name: small, model: small-1, mcpServers: [pay], tools: {refund}",
        )
    )
    assert new_capabilities(parse_experiment(text)) == (
        "tool refund",
        "scope pay",
        "side effect of refund",
        "MCP server pay",
    )


# ---- in the ledger -------------------------------------------------------------------------------------


def test_a_policy_binds_from_where_it_stands_in_the_ledger() -> None:
    """W4"""
    house = House(SPEC, policy=None)
    house.ask("register")
    house.ask("start")
    house.put_in_force(POLICY_TEXT)
    assert house.lifecycle == "running"
    house.ask("pause")
    assert (house.ask("resume") or "").startswith("policy 'house-rules' does not allow the spec: ")


def test_a_policy_that_is_read_again_after_a_crash_does_not_take_the_newer_ones_place() -> None:
    house = House()
    house.put_in_force(edited(("house-rules", "newer"), text=POLICY_TEXT), "uuid/0/9")
    house.put_in_force(POLICY_TEXT, "uuid/0/1")
    assert "newer" in house.timeline.state.policy.text
    house.put_in_force(edited(("house-rules", "newest"), text=POLICY_TEXT), "uuid/0/10")
    assert "newest" in house.timeline.state.policy.text


# ---- at the start --------------------------------------------------------------------------------------

HIGH = """  risks:
    - {harm: Wrong advice, hurts: customers, severity: low, likelihood: low, owner: ada, recheck: 2026-12-01}
"""
PASSED = "  evidence: {offline: {suite: golden, version: v3, passed: true, at: 2026-09-01}}\n"


def high_risk(more: str = PASSED) -> House:
    """Everything is there but the dry-run rollback, and the offline evaluation as the test has it."""
    house = House(edited(RISK_MEDIUM) + HIGH + more).approved("product", "privacy")
    for person in ("eve", "eva"):
        house.ask("approve", by=person, domain="ethics")
    return house


def rehearsed(house: House) -> None:
    assert house.ask("rehearse", by="olga") is None
    house.timeline.ack("flagd")


def test_a_start_needs_a_dry_run_rollback_that_all_controllers_have_acknowledged() -> None:
    """R3"""
    house = high_risk()
    assert house.ask("start") == (
        "no dry-run rollback was acknowledged; `stoploss rollback checkout --dry-run` orders one"
    )
    house.ask("rehearse", by="olga")
    command = house.timeline.commands[-1]
    assert (command.action, command.dry_run, command.exposure, command.release_variant) == (
        "rollback",
        True,
        0,
        "current",
    )
    assert house.ask("start") is not None
    house.timeline.ack("flagd", "rejected")
    assert house.ask("start") is not None
    house.timeline.ack("flagd")
    assert house.timeline.registry()[-1].rehearsed_at == house.timeline.at
    assert house.ask("start") is None


def test_an_old_dry_run_is_not_enough() -> None:
    """R3"""
    house = high_risk()
    rehearsed(house)
    house.timeline.at += 31 * DAY
    house.ask("note", kind="rechecked", item="resolved today")
    assert house.ask("start") == (
        "the last dry-run rollback was acknowledged 31.0 days ago, and 30 are allowed; order another"
    )


def recorded(house: House, said: Said) -> None:
    house.timeline.ask(RECORD, by="ci", body=written(said))


def results(version: str = "v3", failed: tuple[str, ...] = (), evaluation_set: str = "leaks") -> OfflineResults:
    where = {"evaluation_set": evaluation_set, "version": version, "read_as": "inspect", "sha256": "c" * 64}
    return OfflineResults(subject="small-2", passed=(CASE,), failed=failed, **where)


def with_cases(house: House) -> House:
    promoted = CasesPromoted(command_ids=("a" * 64,), cases=(CASE,), evaluation_set="leaks", version="v3")
    recorded(house, promoted)
    return house


def test_a_start_waits_while_the_newest_results_on_its_own_cases_failed() -> None:
    """E1, X7: what the author states is not enough; what comes back as a fact counts."""
    house = with_cases(high_risk())
    rehearsed(house)
    recorded(house, results(failed=(CASE,)))
    recorded(house, results(evaluation_set="of others", failed=(CASE,)))
    assert house.ask("start") == (
        "the newest results on the evaluation set 'leaks' failed (cases: 1 of v3, by small-2); put results that pass "
        "on record, or have it waived"
    )
    recorded(house, results("v4"))
    assert house.ask("start") is None


def test_an_approver_may_waive_results_that_failed() -> None:
    """E1"""
    house = with_cases(high_risk())
    rehearsed(house)
    recorded(house, results(failed=(CASE,)))
    house.ask("approve", by="eve", domain="ethics", waives=["offline_evaluation"])
    assert house.ask("start") is None


def test_results_in_an_older_ledger_decide_nothing_as_they_did_then() -> None:
    house = high_risk()
    rehearsed(house)
    house.timeline.edition = None
    recorded(with_cases(house), results(failed=(CASE,)))
    assert house.ask("start") is None


def test_the_sets_that_a_judge_keeps_are_bounded() -> None:
    sets: list[CaseSet] = []
    for number in range(MOST_SETS + 1):
        name = f"set {number}"
        fold_cases(CasesPromoted(command_ids=(), cases=(CASE,), evaluation_set=name, version="v1"), sets)
    assert [one.name for one in sets] == [f"set {number}" for number in range(1, MOST_SETS + 1)]


@pytest.mark.parametrize("stated", ["", PASSED.replace("true", "false")])
def test_a_start_needs_an_offline_evaluation_that_passed_or_an_approver_who_waives_it(stated: str) -> None:
    """E1"""
    house = high_risk(stated)
    rehearsed(house)
    assert "offline evaluation" in (house.ask("start") or "")
    house.ask("approve", by="product-owner", domain="product", waives=["offline_evaluation"])
    assert house.ask("start") is None


def test_exposure_is_raised_in_the_windows_of_the_class_only() -> None:
    """W4"""
    house = high_risk()
    rehearsed(house)
    house.days(0.5)
    assert house.ask("start") == (
        "exposure is raised inside the windows of the policy only: Mon-Fri 09:00 to 17:00 Europe/Berlin"
    )


def test_a_baseline_that_nobody_has_looked_at_again_holds_the_ramp_until_somebody_does() -> None:
    """X5"""
    house = House().approved("product", "privacy")
    house.ask("start")
    house.days(29)
    assert house.ask("ramp") == (
        "baselines are overdue: resolved today; look at them again and say `stoploss note --rechecked ITEM`"
    )
    assert "is no baseline of the spec; baselines are resolved today" in (
        house.ask("note", kind="rechecked", item="price of tokens") or ""
    )
    assert house.ask("note", kind="rechecked", item="resolved today") is None
    assert house.ask("ramp") is None


def test_status_says_when_a_baseline_is_due_and_overdue_until_somebody_has_looked_again() -> None:
    """X5, G7: privacy assessments are baselines."""
    house = House(policy=None)
    house.ask("register")
    entry = house.timeline.registry()[-1]
    (baseline,) = house.timeline.it.experiment.spec.baselines
    early, soon = (baseline.due - timedelta(days=days) for days in (15, 14))
    assert (status_of(entry, early).due, status_of(entry, early).overdue_since) == ((), None)
    assert status_of(entry, soon).due == (f"a new look at 'resolved today' is due on {baseline.due}",)
    late = status_of(entry, baseline.due)
    assert late.due == (f"a new look at 'resolved today' is overdue since {baseline.due}",)
    assert late.overdue_since == baseline.due

    house.days(29)
    house.ask("note", kind="rechecked", item="resolved today")
    again = house.timeline.registry()[-1]
    assert again.rechecked == (Rechecked("resolved today", house.timeline.at),)
    assert status_of(again, moment(house.timeline.at).date()).overdue_since is None
    ended = replace(again, lifecycle="completed")
    assert status_of(ended, baseline.due + timedelta(days=999)).due == ()


def test_an_overdue_baseline_is_a_finding_once_and_another_when_it_was_looked_at() -> None:
    """X5"""
    house = House(policy=None)
    house.ask("register")
    house.days(28)
    house.timeline.seconds(20)
    assert house.timeline.findings == []
    house.days(1)
    house.timeline.seconds(30)
    (finding,) = house.timeline.findings
    assert (finding.verdict, finding.reason, finding.severity) == ("breach", "baseline_overdue", "info")
    assert (finding.evidence.observed, finding.evidence.bound) == (30 * 86_400, 30 * 86_400)
    assert "'resolved today' (dashboard) was looked at 30 days ago, and holds for 30" in finding.sentence
    house.ask("note", kind="rechecked", item="resolved today")
    house.timeline.seconds(20)
    assert [found.reason for found in house.timeline.findings] == ["baseline_overdue", "baseline_rechecked"]
