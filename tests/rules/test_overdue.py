from __future__ import annotations

from stoploss.ledger import AckOverdue
from tests.timelines import SPEC, Timeline, actions, spec, traces, with_gate

CONTROLLED = SPEC.replace("control: current}", "control: current, controllers: [flagd, gateway]}")


def begun() -> Timeline:
    return Timeline(spec("health: {overdueAfter: 3}", CONTROLLED)).started()


def overdue(timeline: Timeline, controller: str, resent: int) -> None:
    command = timeline.commands[-1]
    timeline.append(
        AckOverdue(
            "checkout", command.command_id, controller, 500 * (resent + 1), resent, command.run, command.sequence
        )
    )


def said(timeline: Timeline) -> list[tuple[str, str]]:
    return [(f.reason, f.severity) for f in timeline.findings if f.evidence.rule == "overdue"]


def stopped() -> Timeline:
    timeline = begun()
    some = traces(50, seed=1)
    timeline.traces(with_gate(some, int((some.variant == 1).argmax()), 0))
    assert actions(timeline)[-1] == "stop"
    return timeline


def test_a_stop_that_is_not_applied_pages_once_it_was_sent_three_times_more() -> None:
    timeline = stopped()
    for resent in (1, 2):
        overdue(timeline, "gateway", resent)
    assert said(timeline) == []
    overdue(timeline, "gateway", 3)
    overdue(timeline, "gateway", 4)
    assert said(timeline) == [("not_applied", "page")]
    assert timeline.findings[-1].sentence.startswith("gateway: the command is not applied after 3 (limit 3)")


def test_it_is_over_when_the_controller_applies_it() -> None:
    timeline = stopped()
    overdue(timeline, "gateway", 3)
    timeline.ack("gateway", "received")
    assert len(said(timeline)) == 1
    timeline.ack("gateway")
    assert said(timeline) == [("not_applied", "page"), ("applied", "info")]


def test_an_ack_of_another_controller_ends_nothing() -> None:
    timeline = stopped()
    overdue(timeline, "gateway", 3)
    timeline.ack("flagd")
    assert said(timeline) == [("not_applied", "page")]


def test_a_command_that_was_followed_by_another_is_not_overdue_any_more() -> None:
    timeline = Timeline(spec("health: {overdueAfter: 3}", CONTROLLED))
    timeline.ask("register")
    timeline.ask("start")
    first = timeline.commands[-1]
    timeline.ask("stop")
    timeline.append(AckOverdue("checkout", first.command_id, "gateway", 9_000, 9, first.run, first.sequence))
    assert said(timeline) == []


def test_an_overdue_command_issues_none() -> None:
    timeline = stopped()
    before = len(timeline.commands)
    overdue(timeline, "gateway", 7)
    assert len(timeline.commands) == before
