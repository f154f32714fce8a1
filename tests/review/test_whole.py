"""The whole review: what was promised, what speaks for and against it, who decided, what is owed, what is not known."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from stoploss.cases.standing import offline
from stoploss.cli.output import json_text
from stoploss.followup import CasesPromoted, OfflineResults
from stoploss.governance.bodies import NoteTerms, text_of
from stoploss.governance.record import Amendment, Completion
from stoploss.incidents.facts import Asked, OnRecord
from stoploss.ledger import JudgeVersion, Request
from stoploss.review.document import Review
from stoploss.review.fourfold import fourfold
from stoploss.review.html import html
from stoploss.review.markdown import markdown
from stoploss.review.overview import status_of
from stoploss.review.owed import duties
from stoploss.review.preregistered import terms
from stoploss.review.promise import kept
from stoploss.review.recommended import recommended
from stoploss.review.reproduction import reproduction
from stoploss.spec.file import parse_experiment
from stoploss.store.review_reads import InProduction, StartToDecision
from tests.review.rows import GUARDED, NOW, arm, at, experiment, finding, issued, verdict
from tests.review.test_document import reviewed
from tests.review.test_overview import ENTRY, MICROS
from tests.timelines import SPEC, spec

BASELINE = 'baselines: [{item: price, value: 0.004, taken: 2026-01-10, source: "the provider\'s list"}]'
COMMAND_ID, CASE = "a" * 64, f"case-{'b' * 16}"
WEIGHED = """
objective:
  quality: {score: resolved}
  risk: [{event: refusal, weight: 1}]
  lambdaCost: 0.2
  lambdaRisk: 1
"""
VERSION = JudgeVersion(0, "0.1.0", "3.11.7", "2.4", "0.26.1", "2026.1", "Gate@1")


def asked(action: str, **changes: Any) -> Asked:
    request = Request(f"r-{action}", "checkout", action, "ada", "", MICROS, accepted=True)
    return Asked(replace(request, **changes), NOW)


def completed(decision: str = "rollout", **changes: Any) -> Completion:
    given: dict[str, Any] = {"caveats": "one week only", "lesson": "cache first", "reviewer": "bob", **changes}
    return Completion(decision, "ada", "cheaper, and as good", MICROS, recommended="iterate", **given)


def line_of(review: Review, label: str) -> str:
    (line,) = [line for line in markdown(review).splitlines() if line.startswith(f"- **{label}:**")]
    return line.removeprefix(f"- **{label}:** ")


def section_of(review: Review, title: str) -> str:
    return markdown(review).partition(f"## {title}\n")[2].partition("\n## ")[0]


# ---- who decided ---------------------------------------------------------------------------------


def test_a_persons_decision_stands_first_with_reason_reviewer_and_what_it_departs_from() -> None:
    """D8"""
    review = reviewed(state={"lifecycle": "completed"}, entry=replace(ENTRY, completion=completed()))
    assert line_of(review, "Decision") == (
        "rollout; 2026-03-01 09:30:00.000 UTC; decided by ada, reviewed by bob; it departs from the recommendation, "
        "which was to iterate"
    )
    assert (line_of(review, "Why"), line_of(review, "Caveats")) == ("cheaper, and as good", "one week only")
    assert "- cache first (ada, 2026-03-01" in section_of(review, "Lessons")


@pytest.mark.parametrize(
    ("number", "action", "decision"), [(3, "stop", "stop"), (0, "stop", "rollout"), (3, "throttle", "rollout")]
)
def test_what_was_rolled_out_and_taken_away_later_is_not_told_as_rolled_out(
    number: int, action: str, decision: str
) -> None:
    """D8: a stop that led to the decision, and a window that closes, leave it."""
    decided = replace(ENTRY, completion=completed())
    review = reviewed(state={"lifecycle": "stopped"}, entry=decided, timeline=[issued(number, action=action)])
    assert review.decision.decision == decision


def test_a_lesson_that_was_noted_stands_among_the_lessons() -> None:
    note = asked("note", reason="ask for less", body=text_of(NoteTerms(kind="lesson")))
    other = asked("note", reason="a holiday", body=text_of(NoteTerms(kind="note")))
    assert [lesson.text for lesson in reviewed(asked=[note, other]).lessons] == ["ask for less"]


def test_the_time_from_start_to_decision_is_told_for_the_experiment_and_the_programme() -> None:
    """D10"""
    programme = [
        StartToDecision("checkout", at(0), at(3 * 86_400 + 3_600)),
        StartToDecision("basket", at(0), at(86_400)),
        StartToDecision("search", at(0), at(2 * 86_400)),
        StartToDecision("mail", at(0), None),
        StartToDecision("draft", None, None),
    ]
    told = line_of(reviewed(programme=programme), "From start to decision")
    assert told == "3 d 1 h; median of 3 decided experiments 2 d; 1 under way"


# ---- what was promised ---------------------------------------------------------------------------


def test_what_was_registered_stands_as_it_was_beside_what_was_amended() -> None:
    """X10"""
    registered = spec("guardrails: [{metric: latency_ms, direction: lower, margin: {relative: 0.1}, alpha: 0.01}]")
    change = Amendment("eve", "too strict", MICROS, "ab" * 32, ("spec.guardrails[0].margin.relative",), True)
    review = reviewed(asked=[asked("register", spec=registered)], entry=replace(ENTRY, amendments=(change,)))
    told = section_of(review, "As preregistered")
    assert "| guardrail on latency_ms | may rise by at most 10 %; α 0.01; a breach leads to rollback |" in told
    assert "| eve | spec.guardrails\\[0\\].margin.relative | too strict | lost |" in told
    assert review.preregistered.by == "ada"


@pytest.mark.parametrize(("edition", "by", "stands"), [(1, "ada", "α 0.01"), (None, "ci", "α 0.02")])
def test_who_registers_again_has_not_registered_it_unless_that_was_so_then(
    edition: int | None, by: str, stands: str
) -> None:
    """X10"""
    first, second = (
        spec(f"guardrails: [{{metric: latency_ms, direction: lower, margin: {{relative: 0.1}}, alpha: {alpha}}}]")
        for alpha in (0.01, 0.02)
    )
    again = asked("register", spec=second, request_id="r-again", by="ci", edition=edition)
    review = reviewed(asked=[asked("register", spec=first, edition=edition), again])
    assert review.preregistered.by == by
    assert stands in section_of(review, "As preregistered")


def test_whatever_a_verdict_rests_on_is_among_what_was_preregistered() -> None:
    """X8: none of it could be chosen after the data were seen, and nobody notice."""
    registered = parse_experiment(
        spec(
            """
segments: [tenant]
guardrails:
  - {metric: latency_ms, direction: lower, margin: {relative: 0.5}, transform: exceedance, threshold: 900}
drift: [{metric: error_rate, action: none}, {mix: language}]
budgets:
  - {metric: cost_usd, limit: 300, period: 24h, actions: [{burn: 6, do: throttle, to: 0.01}]}
  - {slo: {metric: latency_ms, threshold: 20000, target: 0.99}, period: 30d, actions: [{burn: 14.4, do: pause}]}
health: {sampleRatio: off, silence: {after: 60s}}
path: {order: [search]}
limits: {steps: 9}
windows: [{days: Mon-Fri, from: "09:00", to: "17:00", timezone: Europe/Berlin}]
safeShare: 0.01
privacy: {minimumCell: 30}
"""
        )
    )
    told = {term.name: term.text for term in terms(registered)}
    assert told["segments"] == "tenant"
    assert told["guardrail on latency_ms (share beyond its threshold)"].endswith("leads to rollback; threshold 900")
    assert told["drift of error_rate"] == "{metric: error_rate, detector: ADWIN, params: {}, action: none}"
    assert told["drift of language"].startswith("{mix: language, ")
    assert told["budget on cost_usd"] == "at most 300 USD in 24 h; throttle to 1 % at 6 times the planned rate"
    assert told["budget on latency_ms"].startswith(
        "99 % of requests at or below 20,000 ms in 30 d; pause at 14.4 times"
    )
    assert "sampleRatio: off" in told["health"]
    assert "silence: {after: 60, do: pause}" in told["health"]
    assert "blind: {hold: 30, then: pause, after: 300" in told["health"], "what was not written holds as well"
    assert (told["path"], told["limits"]) == ("{order: [search], approvals: []}", "{steps: 9}")
    assert told["windows"] == "[{days: Mon-Fri, from: 09:00, to: 17:00, timezone: Europe/Berlin}]"
    assert (told["safeShare"], told["randomisationUnit"], told["serviceTimeout"]) == ("1 %", "user", "60 s")
    assert told["privacy"] == "{pii: {}, minimumCell: 30}"


def test_a_variant_is_told_with_all_that_a_unit_of_change_may_differ_in() -> None:
    """X2, X8"""
    declared = (
        "{name: small, model: small-1, prompt: checkout@v7, promptHash: 0123456789abcdef, versions: {index: 2026-09}, "
        "routing: eu, tools: [{name: pay, scopes: [payments.write], sideEffect: true}, {name: search}]"
    )
    before = "{name: small, tools: [{name: search, scopes: [catalog.read]}]}"
    assert before in SPEC
    review = reviewed(parse_experiment(SPEC.replace(before, f"{declared}}}")))
    assert (
        "- **Variant B (treatment):** small (model: small-1; prompt: checkout@v7; prompt hash: 0123456789ab; "
        "versions: index 2026-09; routing: eu; tools: pay (payments.write, side effects), search; "
        "MCP servers: none; data: none)"
    ) in markdown(review)
    assert "payments.write, side effects" in html(review)
    data = json.loads(json_text(review))["treatment"]
    assert (data["versions"], data["prompt_hash"]) == ({"index": "2026-09"}, "0123456789abcdef")
    assert (data["scopes"], data["side_effects"]) == ({"pay": ["payments.write"], "search": []}, ["pay"])


def test_after_a_rollout_the_promise_stands_beside_production() -> None:
    """G7"""
    arms = [arm(mean=500.0), arm(variant="small", mean=400.0)]
    review = reviewed(arms=arms, production=[InProduction("latency_ms", 9_000, 440.0)])
    (latency,) = [line for line in review.production if line.metric == "latency_ms"]
    assert (latency.promised, latency.production, latency.n) == (400.0, 440.0, 9_000)
    assert latency.change == pytest.approx(0.1)
    assert "| latency | latency_ms | 500 ms | 400 ms | 440 ms | 9,000 | +10 % |" in markdown(review)


def test_what_production_does_not_tell_is_no_data() -> None:
    (cost,) = [line for line in kept(reviewed().results, [InProduction("latency_ms", 1, 1.0)]) if line.what == "cost"]
    assert (cost.production, cost.change, cost.n) == (None, None, 0)


# ---- what is owed --------------------------------------------------------------------------------


def test_a_baseline_is_overdue_until_somebody_has_looked_again() -> None:
    """X5"""
    owing = reviewed(experiment(BASELINE))
    assert [(line.due, line.overdue) for line in owing.owed.baselines] == [(date(2026, 2, 9), True)]
    assert "overdue since 2026-02-09" in section_of(owing, "What people owe")
    again = asked("note", body=text_of(NoteTerms(kind="rechecked", item="price")))
    assert [line.overdue for line in reviewed(experiment(BASELINE), asked=[again]).owed.baselines] == [False]


@pytest.mark.parametrize(("days", "told"), [(29, "is due on 2026-03-31"), (30, "is overdue since 2026-03-31")])
def test_after_a_rollout_a_review_comes_due_and_status_shows_it(days: int, told: str) -> None:
    """G7"""
    entry = replace(ENTRY, lifecycle="completed", completion=completed())
    shown = status_of(entry, NOW.date() + timedelta(days=days))
    assert shown.due == (f"the post-implementation review {told}",)


def test_the_review_of_what_is_still_served_is_due_until_it_was_held() -> None:
    """G7"""
    entry = replace(ENTRY, lifecycle="adopted", completion=completed())
    assert status_of(entry, NOW.date()).due == ("the post-implementation review is due on 2026-03-31",)
    held = replace(entry, completion=completed(reviewed_at=MICROS))
    assert status_of(held, NOW.date() + timedelta(days=99)).due == ()


@pytest.mark.parametrize(("lifecycle", "decision"), [("reviewed", "rollout"), ("completed", "rollback")])
def test_no_review_is_due_once_it_was_held_or_where_nothing_was_rolled_out(lifecycle: str, decision: str) -> None:
    entry = replace(ENTRY, lifecycle=lifecycle, completion=completed(decision))
    assert status_of(entry, NOW.date() + timedelta(days=99)).due == ()


def test_the_spec_says_when_the_review_is_due_and_when_a_risk_is_assessed_again() -> None:
    """G7"""
    risk = "{harm: it leaks, hurts: users, severity: low, likelihood: low, owner: ada, recheck: 2026-02-01}"
    text = SPEC.replace("{metric: resolved}", "{metric: resolved, reviewAfter: 7d}")
    soon = parse_experiment(spec(f"risks: [{risk}]", text))
    (first,) = duties(soon, "completed", completed(), NOW.date())
    assert first.due == date(2026, 3, 8)
    (second,) = duties(soon, "running", None, NOW.date())
    assert (second.what, second.overdue) == ("a new assessment of the risk that it leaks", True)


# ---- for and against -----------------------------------------------------------------------------


def test_what_is_missing_of_the_four_kinds_of_evidence_is_named() -> None:
    """D9"""
    kinds = {kind.kind: (kind.standing, kind.says) for kind in reviewed(experiment()).evidence.kinds}
    assert kinds["offline evaluation"] == ("missing", "the spec states none (evidence.offline)")
    assert kinds["segments"][0] == "missing"
    assert kinds["cost and latency"] == ("missing", "no budget or guardrail watches cost, latency")


def test_evidence_that_contradicts_itself_is_said_to() -> None:
    """D9"""
    passed = "evidence: {offline: {suite: regress, version: v3, passed: true, at: 2026-02-01}}\n"
    review = reviewed(experiment(passed + GUARDED), timeline=[finding(3)])
    against = "offline evaluation speaks for B, production traces, cost and latency against it"
    assert review.evidence.contradiction == against
    assert f"They contradict each other: {against}." in markdown(review)


def test_a_regression_case_that_failed_speaks_against_it() -> None:
    promoted = CasesPromoted(command_ids=(COMMAND_ID,), cases=(CASE,), evaluation_set="regress", version="v4")
    where = {"evaluation_set": "regress", "version": "v4", "read_as": "inspect", "sha256": "c" * 64}
    results = OfflineResults(subject="small-2", passed=(), failed=(CASE,), **where)
    standing = offline([OnRecord(promoted, "ada", NOW), OnRecord(results, "ci", NOW)], [COMMAND_ID])
    kind = fourfold(experiment(), standing, None, (), (), ()).kinds[0]
    assert (kind.standing, kind.says) == ("against B", "regression cases failed offline: small-2")
    mended = OfflineResults(subject="small-3", passed=(CASE,), failed=(), **where)
    facts = [OnRecord(promoted, "ada", NOW), OnRecord(results, "ci", NOW)]
    later = offline([*facts, OnRecord(mended, "ci", NOW + timedelta(hours=1))], [COMMAND_ID])
    assert fourfold(experiment(), later, None, (), (), ()).kinds[0].standing == "missing"


# ---- what is watched, not known, and how to make it again ----------------------------------------


def test_each_watch_stands_in_its_group_with_both_numbers_and_a_breach_with_its_sentence() -> None:
    spec_ = experiment("drift: [{metric: output_tokens}]")
    said = [
        verdict(rule="drift[0]", metric="output_tokens", verdict="breach", reason="variant_moved", observed=None),
        verdict(rule="sample_ratio", metric="units", verdict="ok", reason="steady", observed=0.5, bound=6.9),
        verdict(rule="sample_ratio", metric="units", verdict="ok", reason="steady", observed=0.5, bound=6.9),
    ]
    moved = finding(4, rule="drift", metric="output_tokens", sentence="output_tokens moved")
    review = reviewed(spec_, verdicts=said, timeline=[moved])
    assert "| drift, ADWIN | output_tokens | breach |  | output_tokens moved |" in section_of(review, "Drift")
    assert section_of(review, "Sample ratio and exposure").count("0.5 against 6.9 | steady") == 1


def test_missing_scores_undecided_guardrails_and_hidden_cells_are_not_known() -> None:
    arms = [arm(), arm(metric="helpfulness", n=900), arm(metric="resolved", n=1_200)]
    tiny = verdict(segment_dimension="tenant", segment_value="tiny", hidden=True, observed=None, estimate=None)
    told = section_of(reviewed(arms=arms, verdicts=[verdict(), tiny]), "What is not known")
    assert "- helpfulness of 300 traces of 'current' (25 %): no score came." in told
    assert "- whether latency_ms (geometric mean) is within its margin (undecided: neither" in told
    assert "- what happened in 1 segments whose numbers are hidden (minimum cell 20)." in told
    assert "resolved of" not in told


def test_a_review_names_the_versions_that_judged_its_run_and_the_commands_that_judge_it_again() -> None:
    """V1"""
    later = replace(VERSION, stoploss="0.2.0")
    versions = [(0, replace(VERSION, stoploss="0.0.9")), (5, VERSION), (40, VERSION), (60, later), (900, later)]
    entries = [finding(3, ledger_offset=20), finding(4, ledger_offset=70)]
    found = reproduction("checkout", "5f" * 32, 1, entries, versions, None)
    assert [(one.from_offset, one.version.split(" numpy")[0]) for one in found.judged_by] == [
        (5, "python 3.11.7 stoploss 0.1.0"),
        (60, "python 3.11.7 stoploss 0.2.0"),
    ]
    assert (found.first_offset, found.last_offset, found.first_number, found.last_number) == (20, 70, 3, 4)
    assert found.commands[0] == "stoploss replay checkout"


def test_risk_is_a_result_of_its_own_with_its_interval() -> None:
    """X8"""
    weighed = experiment(WEIGHED)
    said = [verdict(rule="objective", metric=name, estimate=0.01, lower=-0.01, upper=None) for name in ("cost", "risk")]
    review = reviewed(weighed, verdicts=said)
    assert recommended(weighed, said)
    assert line_of(review, "Result for risk") == "worth +1 % (-1 % to no limit) of A's quality"
    assert line_of(review, "Result for cost").endswith("worth +1 % (-1 % to no limit) of A's quality")
    assert line_of(reviewed(), "Result for risk") == "not weighed: the spec has no objective"
