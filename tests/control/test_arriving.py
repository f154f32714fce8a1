"""Commands that arrive: the judge's side, and judge and controller together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from stoploss.after_stop import CONTRADICTS_AFTER
from stoploss.commands import Ack, AckStatus, Command
from stoploss.console.deciding import Viewer
from stoploss.console.reads import Standing
from stoploss.console.waiting import OVERDUE, waiting
from stoploss.governance.breaking import told
from stoploss.journal import CommandAcked, EpochOpened, ExposuresCounted, Finding, RequestHandled
from stoploss.ledger import AckOverdue, AckReceived, Request
from stoploss.lifecycle import BREAK_GLASS, Lifecycle
from stoploss.review.overview import status_of
from stoploss.review.words import moment
from tests.timelines import SPEC, Timeline, actions, merged, spec, traces, with_gate

from .orders import SECOND, TOPIC
from .site import Site

HOUR = 3_600 * SECOND
CONTROLLED = SPEC.replace("control: current}", "control: current, controllers: [flagd]}")


def said(timeline: Timeline, instance: str, status: str, command: Command | None = None, source: str = "s") -> None:
    """An instance of flagd answers a command, or says that it lives or goes."""
    of = command or timeline.commands[-1] if status not in ("alive", "left") else None
    command_id, run, sequence = (of.command_id, of.run, of.sequence) if of else ("", 0, 0)
    fact = AckReceived("checkout", command_id, "flagd", instance, status, "", timeline.at, run, sequence, source)
    timeline.append(fact)


def overdue(timeline: Timeline, instance: str, resent: int) -> None:
    command = timeline.commands[-1]
    waited_ms, place = 5_000 * resent, (command.run, command.sequence, instance)
    timeline.append(AckOverdue("checkout", command.command_id, "flagd", waited_ms, resent, *place))


def of_three(*applied: str) -> Timeline:
    """Started with three living instances, of which some have applied it."""
    timeline = Timeline(spec("health: {overdueAfter: 3}", CONTROLLED))
    timeline.ask("register")
    for instance in ("a", "b", "c"):
        said(timeline, instance, "alive")
    timeline.ask("start")
    for instance in applied:
        said(timeline, instance, "applied")
    return timeline


def tripped(timeline: Timeline) -> Timeline:
    some = traces(50, seed=1)
    timeline.traces(with_gate(some, int((some.variant == 1).argmax()), 0))
    assert actions(timeline)[-1] == "stop"
    return timeline


# ---- several instances -----------------------------------------------------------------------------


def test_a_command_counts_as_applied_once_every_living_instance_has_applied_it() -> None:
    timeline = of_three("a", "b")
    assert timeline.said(EpochOpened) == []
    said(timeline, "c", "applied")
    assert timeline.said(EpochOpened) == [EpochOpened(1, 0.5)]


def test_one_dead_instance_of_three_keeps_a_stop_from_counting_as_applied_and_pages() -> None:
    timeline = tripped(of_three("a", "b", "c"))
    for instance in ("a", "b"):
        said(timeline, instance, "applied")
    assert timeline.it.desired.applied_at is None
    for resent in (1, 2, 3):
        overdue(timeline, "c", resent)
    late = [(ack.instance, ack.status) for ack in timeline.said(CommandAcked)][-3:]
    assert late == [("c", "overdue")] * 3
    [page] = [f for f in timeline.findings if f.evidence.rule == "overdue"]
    assert (page.severity, page.reason) == ("page", "not_applied")
    assert page.sentence.startswith("flagd/c: ")
    said(timeline, "c", "applied")
    assert timeline.it.desired.applied_at == timeline.at
    assert timeline.findings[-1].reason == "applied"


def test_an_instance_that_left_in_order_is_not_waited_for() -> None:
    timeline = of_three("a", "b")
    said(timeline, "c", "left")
    assert timeline.said(EpochOpened) == [EpochOpened(1, 0.5)]
    timeline.ask("pause")
    assert timeline.it.desired.awaiting.named() == [("flagd", "a"), ("flagd", "b")]


def test_an_instance_that_appears_while_a_command_is_awaited_has_to_apply_it() -> None:
    timeline = of_three("a", "b")
    said(timeline, "d", "alive")
    said(timeline, "c", "applied")
    assert timeline.said(EpochOpened) == []
    said(timeline, "d", "applied")
    assert len(timeline.said(EpochOpened)) == 1


# ---- what contradicts an applied stop --------------------------------------------------------------


def served(timeline: Timeline, after: int, seed: int) -> None:
    """Requests of both arms that began so many microseconds after the stop was applied."""
    applied_at = timeline.it.desired.applied_at
    assert applied_at is not None
    start = np.full(20, applied_at + after, "<i8").tobytes()
    timeline.traces(traces(20, seed=seed), start=start)


def contradictions(timeline: Timeline) -> list[Finding]:
    return [f for f in timeline.findings if f.evidence.rule == "after_stop"]


def stopped() -> Timeline:
    timeline = tripped(of_three("a", "b", "c"))
    for instance in ("a", "b", "c"):
        said(timeline, instance, "applied")
    return timeline


def test_a_trace_that_began_after_the_stop_was_applied_by_all_is_a_finding_and_pages() -> None:
    timeline = stopped()
    served(timeline, CONTRADICTS_AFTER, seed=2)
    assert contradictions(timeline) == []
    served(timeline, CONTRADICTS_AFTER + 1, seed=3)
    [finding] = contradictions(timeline)
    assert (finding.severity, finding.reason) == ("page", "served_after_stop")
    treated = int((traces(20, seed=3).variant == 1).sum())
    assert finding.evidence.observed == treated
    assert finding.sentence == (
        f"'small' is served although it is stopped and all instances of flagd have applied it: {treated} requests "
        "began more than 5 s later (limit 0); set the flag by hand"
    )


def test_it_is_said_again_only_when_it_has_doubled() -> None:
    timeline = stopped()
    for seed in range(16):
        served(timeline, CONTRADICTS_AFTER + SECOND, seed)
    assert 3 <= len(contradictions(timeline)) <= 5


def test_exposures_while_an_instance_is_late_are_counted_and_contradict_nothing() -> None:
    timeline = tripped(of_three("a", "b", "c"))
    said(timeline, "a", "applied")
    late = np.full(20, timeline.at + 60 * SECOND, "<i8").tobytes()
    timeline.traces(traces(20, seed=4), start=late)
    timeline.seconds(3)
    assert contradictions(timeline) == []
    assert timeline.said(ExposuresCounted)[-1].after_stop > 0


SEGMENTED = """
segments: [tenant]
guardrails: [{metric: error_rate, direction: lower, margin: {relative: 0.10}, action: rollback}]
"""


def one_tenant_stopped() -> Timeline:
    """The treatment harms one of two tenants, and the controller has applied that it is stopped there."""
    timeline = Timeline(spec(SEGMENTED, CONTROLLED))
    timeline.ask("register")
    said(timeline, "a", "alive")
    timeline.ask("start")
    said(timeline, "a", "applied")
    for second in range(10):
        timeline.seconds(1)
        harmed = traces(40, seed=90 + second, users=2_000, population=1, error_rate=(0.02, 0.6), tenant="acme")
        timeline.traces(merged(traces(3_000, seed=40 + second, users=20_000, tenant="zeta"), harmed))
    assert actions(timeline)[-1] == "stop_segment"
    said(timeline, "a", "applied")
    return timeline


def served_to(timeline: Timeline, tenant: str, after: int, seed: int) -> int:
    """Requests of a tenant that began so many microseconds after the stop was applied; how many were treated."""
    some = traces(20, seed=seed, tenant=tenant)
    applied_at = timeline.it.desired.applied_at
    assert applied_at is not None
    timeline.traces(some, start=np.full(20, applied_at + after, "<i8").tobytes())
    return int((some.variant == 1).sum())


def test_a_trace_of_a_stopped_segment_that_began_after_the_stop_was_applied_is_a_finding_and_pages() -> None:
    timeline = one_tenant_stopped()
    served_to(timeline, "acme", CONTRADICTS_AFTER, seed=2)
    served_to(timeline, "zeta", CONTRADICTS_AFTER + 1, seed=3)
    assert contradictions(timeline) == []
    treated = served_to(timeline, "acme", CONTRADICTS_AFTER + 1, seed=4)
    [finding] = contradictions(timeline)
    assert (finding.severity, finding.reason) == ("page", "served_after_stop")
    assert (str(finding.evidence.segment), finding.evidence.observed) == ("tenant=acme", treated)
    assert finding.sentence == (
        "'small' is served in tenant=acme although that is stopped and all instances of flagd have applied it: "
        f"{treated} requests began more than 5 s later (limit 0); set the flag by hand"
    )
    assert timeline.it.lifecycle == Lifecycle.RUNNING


def test_of_a_stopped_segment_too_it_is_said_again_only_when_it_has_doubled() -> None:
    timeline = one_tenant_stopped()
    for seed in range(16):
        served_to(timeline, "acme", CONTRADICTS_AFTER + SECOND, seed)
    assert 3 <= len(contradictions(timeline)) <= 5


def test_what_a_stopped_segment_is_served_before_the_stop_is_applied_contradicts_nothing() -> None:
    timeline = one_tenant_stopped()
    timeline.it.desired.applied_at = None
    some = traces(20, seed=5, tenant="acme")
    timeline.traces(some, start=np.full(20, timeline.at + 60 * SECOND, "<i8").tobytes())
    assert contradictions(timeline) == []


def test_control_after_the_stop_is_as_it_should_be() -> None:
    timeline = stopped()
    some = traces(200, seed=5)
    some.variant[:] = 0
    start = np.full(200, timeline.at + 60 * SECOND, "<i8").tobytes()
    timeline.traces(some, start=start)
    assert contradictions(timeline) == []


def test_the_registry_tells_what_was_served_after_the_stop() -> None:
    timeline = stopped()
    assert timeline.registry()[-1].after_stop is None
    served(timeline, SECOND, seed=6)
    timeline.seconds(4)
    counted, entry = timeline.said(ExposuresCounted)[-1], timeline.registry()[-1]
    assert (entry.in_flight, entry.after_stop) == (counted.in_flight, counted.after_stop)
    assert entry.first_harm_at == counted.first_harm_at is not None
    assert entry.last_exposure_at == counted.last_at is not None


# ---- refusals --------------------------------------------------------------------------------------


def refused(timeline: Timeline, command_id: str, source: str) -> None:
    reason = "forged"
    timeline.append(AckReceived("checkout", command_id, "flagd", "a", "rejected", reason, timeline.at, 0, 0, source))


def refusals(timeline: Timeline) -> list[str]:
    return [ack.command_id for ack in timeline.said(CommandAcked) if ack.status == "rejected"]


def test_the_refusal_of_a_forged_or_replayed_command_is_in_the_journal_once() -> None:
    timeline = of_three("a", "b", "c")
    refused(timeline, "unverified-1", "s/1")
    refused(timeline, "unverified-1", "s/1")
    said(timeline, "b", "rejected", timeline.commands[0], source="s/2")
    timeline.ask("stop")
    said(timeline, "b", "rejected", timeline.commands[0], source="s/3")
    assert refusals(timeline) == ["unverified-1", timeline.commands[0].command_id, timeline.commands[0].command_id]


def test_a_flood_of_forgeries_does_not_fill_the_journal() -> None:
    timeline = of_three("a", "b", "c")
    for number in range(1_000):
        refused(timeline, f"unverified-{number}", f"s/{number}")
    assert len(refusals(timeline)) == 64 + 3


# ---- broken glass ----------------------------------------------------------------------------------


def broken(timeline: Timeline) -> Request:
    """As the courier writes it into the ledger."""
    by, at = "break-glass key 1a2b3c4d", timeline.at
    return Request("glass-1", "checkout", BREAK_GLASS, by, "ada broke the glass", at, partition=0, accepted=True)


def test_a_broken_glass_is_in_the_journal_and_the_judge_stops_in_its_own_order() -> None:
    timeline = of_three("a", "b", "c")
    timeline.append(broken(timeline))
    handled = timeline.said(RequestHandled)[-1]
    assert (handled.action, handled.by, handled.accepted) == (BREAK_GLASS, "break-glass key 1a2b3c4d", True)
    assert timeline.it.lifecycle == Lifecycle.STOPPED
    assert (timeline.commands[-1].sequence, timeline.commands[-1].exposure) == (2, 0.0)
    timeline.append(broken(timeline))
    assert len(timeline.said(RequestHandled)) == 3


def test_behind_a_stop_it_is_recorded_and_orders_nothing_new() -> None:
    timeline = stopped()
    before = len(timeline.commands)
    timeline.append(broken(timeline))
    assert timeline.said(RequestHandled)[-1].accepted
    assert len(timeline.commands) == before


@pytest.mark.parametrize("stopped_before", [False, True])
def test_why_the_glass_was_broken_is_owed_until_a_person_notes_it(stopped_before: bool) -> None:
    price = "baselines: [{item: price, value: 0.004, taken: 2026-09-20, source: dashboard}]"
    timeline = Timeline(spec(price, CONTROLLED)).started()
    if stopped_before:
        timeline.ask("stop")
    today = moment(timeline.at).date()
    timeline.append(broken(timeline))
    owed = f"a note that says why the glass was broken is overdue since {today}"
    for recheck in (None, '{"item": "price", "kind": "rechecked"}'):
        timeline.ask("note", reason="as dear as before" if recheck else "", body=recheck)
        status = status_of(timeline.registry()[-1], today)
        assert (status.due, status.overdue) == ((owed,), (owed,))
        (item,) = waiting([Standing(status, None)], moment(timeline.at), Viewer("ada"))
        assert item.why == OVERDUE
    timeline.ask("note", by="bob", reason="a card number was shown, and the monitor was down")
    status = status_of(timeline.registry()[-1], today)
    assert (status.due, waiting([Standing(status, None)], moment(timeline.at), Viewer("ada"))) == ((), ())


def test_who_says_why_while_breaking_the_glass_owes_nothing() -> None:
    timeline = of_three("a", "b", "c")
    timeline.append(dataclasses.replace(broken(timeline), reason=told("ada", "it hurts people")))
    assert timeline.registry()[-1].unexplained_at is None


def test_nobody_breaks_the_glass_of_what_was_never_started() -> None:
    timeline = Timeline(CONTROLLED)
    timeline.ask("register")
    timeline.append(broken(timeline))
    assert not timeline.said(RequestHandled)[-1].accepted


# ---- judge and controller together -----------------------------------------------------------------


def obeyed(acks: list[Ack]) -> bool:
    return acks[-1].status is AckStatus.APPLIED


def test_a_stop_that_a_judge_finds_in_an_hour_old_backlog_takes_effect(site: Site) -> None:
    """The whole evidence was written before the judge died; what it concludes afterwards carries that time."""
    timeline = Timeline(CONTROLLED).started()
    site.now = timeline.at
    [start] = timeline.commands
    assert obeyed(site.send(dataclasses.replace(start, topic=TOPIC, flag="checkout-model")))
    assert "targeting" in site.flag()
    site.now += HOUR
    stop = tripped(timeline).commands[-1]
    assert stop.decided_at < site.now - HOUR + SECOND
    assert obeyed(site.send(dataclasses.replace(stop, topic=TOPIC, flag="checkout-model")))
    assert "targeting" not in site.flag()


def test_a_resume_in_the_same_backlog_is_refused_as_expired(site: Site) -> None:
    timeline = tripped(Timeline(CONTROLLED).started())
    timeline.ask("resume")
    _, stop, resume = (dataclasses.replace(c, topic=TOPIC, flag="checkout-model") for c in timeline.commands)
    site.now = timeline.at + HOUR
    assert obeyed(site.send(stop))
    refused = site.send(resume)[-1]
    assert (refused.status, "expired" in refused.reason) == (AckStatus.REJECTED, True)
