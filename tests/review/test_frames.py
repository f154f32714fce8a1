"""A frame of watch: this run, everybody, and what is waited for."""

from __future__ import annotations

from rich.table import Table

from stoploss.governance.record import Amendment
from stoploss.registry import RegistryEntry
from stoploss.review.frames import FrameRows, frame
from stoploss.review.tables import watch_table
from tests.review.rows import GUARDED, NOW, ack, arm, at, experiment, finding, published, status, verdict

SPEC = experiment(GUARDED)


def test_an_arm_counts_the_traces_of_its_best_covered_metric_in_this_run() -> None:
    arms = [
        arm(n=100),
        arm(metric="helpfulness", n=40),
        arm(run=0, n=9_999),
        arm(segment_dimension="tenant", segment_value="acme", n=500),
    ]
    shown = frame(status(), SPEC, FrameRows(arms=arms))
    assert [(counted.variant, counted.n) for counted in shown.arms] == [("current", 100), ("small", None)]
    assert shown.measured_at == NOW


def test_guardrails_show_this_runs_breach_or_what_they_say_now() -> None:
    shown = frame(status(run=2), SPEC, FrameRows(verdicts=[verdict(run=2)], findings=[finding(1, run=1)]))
    assert shown.guardrails is not None
    assert [result.verdict for result in shown.guardrails] == ["undecided", "not judged", "not judged"]


def test_the_last_command_says_who_applied_it_and_who_has_not() -> None:
    held = published((ack("received", 10.1), ack("applied", 10.2)), controllers=["flagd", "gateway"])
    last = frame(status(), SPEC, FrameRows(commands=[published(command_id="c-0"), held])).last_command
    assert last is not None
    assert (last.action, last.decided_at, last.applied_by, last.waiting_for) == (
        "rollback",
        at(10),
        ("flagd",),
        ("gateway",),
    )


def test_an_experiment_whose_spec_cannot_be_read_is_still_shown() -> None:
    shown = frame(status(), None, FrameRows(arms=[arm(n=100)]))
    assert (shown.guardrails, shown.last_command) == (None, None)
    assert [(counted.variant, counted.n) for counted in shown.arms] == [("current", 100)]


def test_an_amendment_stands_beside_the_verdicts() -> None:
    changes = tuple(
        Amendment("eve", why, 1, "ab" * 32, ("spec.guardrails",), True) for why in ("too strict", "too lax")
    )
    entry = RegistryEntry("checkout", 3, "", "", "running", 1, 1, 1, "current", 0.5, (), None, 1, 7, amendments=changes)
    shown = frame(status(), SPEC, FrameRows(entry=entry))
    assert shown.amended == ("amended 2 times, last by eve: too lax",)
    table = watch_table([shown], NOW)
    assert isinstance(table, Table)
    assert "too lax" in " ".join(map(str, table.columns[1].cells))
