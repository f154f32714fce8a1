"""What a person should look at first: the gravest trouble of an experiment, in a line; and what waits for somebody."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from stoploss.console.deciding import Viewer
from stoploss.console.health import Concluded, Measured, Pulses, Unanswered, health
from stoploss.console.reads import Standing, spec_of
from stoploss.console.waiting import waiting
from stoploss.governance.record import Completion
from stoploss.review.overview import ExperimentStatus

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
EXAMPLE = Path(__file__).parents[2] / "examples" / "checkout-agent-model.yaml"
RUNNING = ExperimentStatus(
    experiment="a",
    lifecycle="running",
    run=1,
    epoch=1,
    exposure=0.5,
    release_variant="x",
    stopped_segments=(),
    changed_at=NOW - timedelta(hours=1),
    command_id=None,
    recommendation=None,
    not_enforced=(),
    spec_fault=None,
)
ADA = Viewer("ada")
SEEN = {"a": Measured("a", NOW - timedelta(seconds=5))}
STOPPED = replace(RUNNING, lifecycle="stopped", in_flight=1_200, after_stop=3)


def concluded(*breached: str, is_blind: bool = False) -> dict[str, Concluded]:
    return {"a": Concluded("a", list(breached), is_blind, NOW - timedelta(seconds=30))}


@pytest.mark.parametrize(
    ("status", "known", "colour", "sentence"),
    [
        (RUNNING, Pulses(SEEN, {}, {}), "good", "no harm is shown; measured"),
        (RUNNING, Pulses(SEEN, concluded("cost_usd"), {}), "warning", "harm is shown: cost_usd; measured"),
        (RUNNING, Pulses({}, {}, {}), "quiet", "not measured yet"),
        (RUNNING, Pulses({"a": Measured("a", NOW - timedelta(hours=1))}, {}, {}), "warning", "not measured since"),
        (RUNNING, Pulses(SEEN, concluded(is_blind=True), {}), "bad", "the monitor does not see it since"),
        (RUNNING, None, "quiet", "unknown while ClickHouse is away"),
        (RUNNING, Pulses(SEEN, {}, {"a": Unanswered("a", [])}), "good", "no harm is shown; measured"),
        (STOPPED, Pulses({}, {}, {"a": Unanswered("a", ["flagd"])}), "bad",
         "waiting for flagd to apply the last command"),
        (STOPPED, Pulses({}, concluded(is_blind=True), {}), "quiet",
         "1,200 in flight at the stop, 3 begun after it"),
        (replace(RUNNING, lifecycle="holding"), Pulses(SEEN, concluded("pii_exposed"), {}), "warning",
         "held until a person decides: pii_exposed"),
        (replace(RUNNING, lifecycle="registered"), Pulses({}, {}, {}), "quiet", "not started"),
        (replace(RUNNING, lifecycle="adopted"), Pulses(SEEN, concluded("pii_exposed"), {}), "warning",
         "harm is shown: pii_exposed; measured"),
    ],
)  # fmt: skip
def test_the_gravest_trouble_is_told(
    status: ExperimentStatus, known: Pulses | None, colour: str, sentence: str
) -> None:
    found = health(status, known, NOW)
    assert (found.colour, found.sentence) == (colour, sentence)


def names(*statuses: ExperimentStatus) -> list[tuple[str, str]]:
    return [(item.experiment, item.why) for item in waiting([Standing(s, None) for s in statuses], NOW, ADA)]


def test_what_waits_for_a_person_is_listed_the_longest_first() -> None:
    long_ago = NOW - timedelta(days=3)
    listed = names(
        RUNNING,
        STOPPED,
        replace(RUNNING, experiment="b", lifecycle="paused"),
        replace(RUNNING, experiment="c", lifecycle="registered", changed_at=long_ago),
        replace(RUNNING, experiment="d", recommendation="rollout", changed_at=NOW),
    )
    assert [name for name, _ in listed] == ["c", "b", "d"]
    assert listed[0][1] == "Waits for somebody to start it."
    assert listed[2][1] == "The objective recommends to roll the treatment out."


def test_what_is_rolled_out_and_still_served_waits_for_its_review_or_for_who_takes_it_away() -> None:
    """G7: and what can be done about it is offered."""
    served = replace(RUNNING, lifecycle="adopted")
    decided = Completion("rollout", "ada", "", 0, "", "", None)
    (item,) = waiting([Standing(served, None, completion=decided)], NOW, ADA)
    assert item.why == "Rolled out and still served, and waits for its review."
    assert [offer.action for offer in item.offers] == ["stop", "rollback", "pause"]
    reviewed = replace(decided, reviewed_at=1)
    assert waiting([Standing(served, None, completion=reviewed)], NOW, ADA) == ()
    harmful = replace(served, recommendation="rollback")
    (item,) = waiting([Standing(harmful, None, completion=reviewed)], NOW, ADA)
    assert item.why == "The objective recommends to roll back."


def test_what_people_owe_and_is_overdue_waits_for_them_since_its_day() -> None:
    """X5, G7"""
    looks = ("a new look at 'price' is overdue since 2026-02-09",)
    late = replace(RUNNING, due=looks, overdue=looks, overdue_since=date(2026, 2, 9))
    (item,) = waiting([Standing(late, None), Standing(replace(RUNNING, due=("a risk is due",)), None)], NOW, ADA)
    assert (item.why, item.owed, f"{item.since:%Y-%m-%d}") == ("What people owe is overdue.", late.due, "2026-02-09")


def test_approvals_that_a_spec_asks_for_are_named() -> None:
    status = replace(RUNNING, lifecycle="registered")
    (item,) = waiting([Standing(status, spec_of(EXAMPLE.read_text()))], NOW, ADA)
    assert item.why == (
        "Waits for approval: product has not approved; privacy has not approved; 0 of 2 people have approved."
    )
    assert [offer.action for offer in item.offers] == ["approve", "reject", "start"]
