"""An organisation for tests: its policy, a spec that meets it, and people who ask and approve."""

from __future__ import annotations

from typing import Any

from stoploss.governance.bodies import BODIES, text_of
from stoploss.journal import RequestHandled
from stoploss.ledger import Request
from stoploss.lifecycle import POLICY
from tests.timelines import Timeline

DAY = 86_400_000_000

POLICY_TEXT = """
apiVersion: stoploss/v1alpha1
kind: Policy
metadata: {name: house-rules, owner: governance-board}
spec:
  defaultRisk: medium
  require: [success, owners, purpose, rollback_plan, baselines]
  metrics:
    resolved: {family: business, definition: "Solved without a person within a day.", better: higher}
    helpfulness: {family: wellbeing, definition: "Judged helpful, 0 to 1.", better: higher}
  strategies:
    margin: {lambdaCost: 0.5, lambdaRisk: 1}
    safety: {lambdaCost: 0.1, lambdaRisk: 5}
  riskClasses:
    low: {}
    medium: {approvals: {product: 1, privacy: 1}, largestExposure: 0.5, largestAlpha: 0.05}
    high:
      approvals: {product: 1, privacy: 1, ethics: 2}
      largestExposure: 0.2
      largestAlpha: 0.01
      windows: [{days: Mon-Fri, from: "09:00", to: "17:00", timezone: Europe/Berlin}]
      require: [metric_families, unit_guardrails, risk_register, offline_evaluation, rehearsed_rollback]
"""

LENIENT = """
apiVersion: stoploss/v1alpha1
kind: Policy
metadata: {name: lenient, owner: governance-board}
spec:
  defaultRisk: low
  riskClasses: {low: {}}
"""
"""A policy that asks for nothing."""

SPEC_TEXT = """
apiVersion: stoploss/v1alpha1
kind: Experiment
metadata: {name: checkout, owner: search-team, labels: {risk: medium}}
spec:
  hypothesis: The smaller model is as good.
  unit: model
  scores: [helpfulness]
  success: {metric: resolved, baseline: 0.71, worthwhile: 0.01, then: {better: roll out, same: keep, worse: roll back}}
  assignment: {flag: checkout, randomisationUnit: user, control: current, controllers: [flagd]}
  variants:
    - {name: current, model: large-2, tools: [{name: search, scopes: [catalog.read]}]}
    - {name: small, model: small-1, tools: [{name: search, scopes: [catalog.read]}]}
  guardrails:
    - {metric: error_rate, direction: lower, margin: {relative: 0.10}, alpha: 0.01, action: rollback}
    - {metric: cost_usd, direction: lower, margin: {relative: 0.10}, alpha: 0.01, transform: log}
    - {metric: cost_usd, direction: lower, margin: {relative: 0.50}, alpha: 0.01, transform: exceedance}
    - {metric: helpfulness, direction: higher, margin: {absolute: 0.02}, alpha: 0.01, action: rollback}
  rollback: {to: current, plan: Nothing has to be done beside the flag.}
  ramp: {stages: [0.05, 0.2]}
  owners: {data: data-team, model: model-team, evaluation: evaluation-team}
  purpose: {text: To answer at a lower cost., legalBasis: legitimate interest}
  baselines: [{item: resolved today, value: 0.71, taken: 2026-09-20, source: dashboard}]
"""
"""Registered in ledger time at 2026-09-21, a Monday, 14:13:20 UTC."""


def edited(*pairs: tuple[str, str], text: str = SPEC_TEXT) -> str:
    """A text with some words replaced, each of which it has."""
    for before, after in pairs:
        assert before in text, before
        text = text.replace(before, after)
    return text


class House:
    """A ledger partition with a policy, and one experiment on it."""

    def __init__(self, spec: str = SPEC_TEXT, policy: str | None = POLICY_TEXT) -> None:
        self.timeline = Timeline(spec)
        if policy is not None:
            self.put_in_force(policy)

    def put_in_force(self, policy: str, source: str = "uuid/0/1") -> None:
        at = self.timeline.at
        fact = Request("p", "", POLICY, "carol", "", at, policy, partition=0, accepted=True, opinion="", source=source)
        self.timeline.append(fact)

    def ask(
        self, action: str, by: str = "ada", reason: str = "because", exposure: float | None = None, **body: Any
    ) -> str | None:
        """Why the judge refuses it; None where it is accepted."""
        said = len(self.timeline.said(RequestHandled))
        text = text_of(BODIES[action].model_validate(body)) if body else None
        self.timeline.ask(action, exposure, by=by, reason=reason, body=text)
        handled = self.timeline.said(RequestHandled)[said:]
        assert len(handled) == 1, "nobody has answered"
        return None if handled[0].accepted else handled[0].reason

    def approved(self, *domains: str, **terms: Any) -> House:
        """Registered, and approved for these domains by somebody each."""
        self.ask("register")
        for domain in domains:
            assert self.ask("approve", by=f"{domain}-owner", domain=domain, **terms) is None
        return self

    def days(self, n: float) -> None:
        """Ledger time passes, and nobody looks."""
        self.timeline.at += round(n * DAY)

    @property
    def lifecycle(self) -> str:
        return self.timeline.it.lifecycle

    @property
    def last_words(self) -> str:
        return self.timeline.said(RequestHandled)[-1].reason
