"""What the courier tells people, on the real broker: each once, and that it is over."""

from __future__ import annotations

import time

import pytest

from stoploss import journal
from stoploss.commands import Evidence
from stoploss.control.alerts import BLIND, OVERDUE
from stoploss.journal import (
    GENESIS,
    NOT_DECLARED,
    Conclusion,
    EvidenceRefused,
    Finding,
    JournalEntry,
    LifecycleChanged,
    MonitorBlind,
)
from tests.installation import (
    journal_of,
)
from tests.streams.couriers import World, is_overdue

pytestmark = pytest.mark.kafka

ODD_SPLIT = Evidence("sample_ratio", 1, observed=9.0, bound=6.9)


def test_a_variant_that_the_spec_does_not_declare_is_told_to_on_call(world: World) -> None:
    name = world.running()
    concluded(world, name, 5_000, EvidenceRefused("trace sent before", 9))
    concluded(world, name, 5_001, EvidenceRefused(NOT_DECLARED, 1_234))
    world.wait(lambda: world.told(name))
    assert world.told(name) == [("StoplossFinding", "firing")]
    [said] = [a for body in world.receiver.bodies for a in body["alerts"] if a["labels"]["experiment"] == name]
    assert said["labels"]["severity"] == "hold"
    assert said["annotations"]["summary"] == f"1,234 traces of {name} name a variant that its spec does not declare"


def test_a_pause_is_told_once_and_resolved_by_the_resume(world: World) -> None:
    name = world.running()
    world.installation.ask("pause", name)
    world.wait(lambda: world.told(name))
    world.ack(world.last(name))
    world.installation.ask("resume", name)
    world.wait(lambda: len(world.told(name)) >= 2)
    world.ack(world.last(name))
    assert world.told(name)[:2] == [("StoplossPause", "firing"), ("StoplossPause", "resolved")]


def test_a_courier_that_takes_over_tells_what_still_fires_and_resolves_it_on_resume(world: World) -> None:
    name, over = world.running(), world.running()
    for one in (name, over):
        world.installation.ask("pause", one)
        world.ack(world.last(one))
    world.installation.ask("resume", over)
    world.ack(world.last(over))
    world.wait(lambda: ("StoplossPause", "resolved") in world.told(over) and world.told(name))
    already = len(world.told(over))

    world.courier.stop()
    world.courier = world.installation.worker("courier")
    world.wait(lambda: len(world.told(name)) >= 2)
    world.installation.ask("resume", name)
    world.wait(lambda: ("StoplossPause", "resolved") in world.told(name))
    assert [status for _, status in world.told(name)].count("resolved") == 1
    assert world.told(over)[already:] == []


def test_what_ends_while_no_courier_is_there_is_ended_by_the_next(world: World) -> None:
    paused, odd, blind, late = world.running(), world.running(), world.running(), world.started()
    since = time.time_ns() // 1_000
    world.installation.ask("pause", paused)
    world.ack(world.last(paused))
    concluded(world, odd, 3_000, Finding("hold", "evidence_above_limit", "the split is off", "hold", ODD_SPLIT))
    concluded(world, blind, 4_000, MonitorBlind("rejects", "intake refused 61 %", since, None))
    told = {paused: "StoplossPause", odd: "StoplossFinding", blind: BLIND, late: OVERDUE}
    world.wait(lambda: all((alertname, "firing") in world.told(name) for name, alertname in told.items()))
    world.wait(lambda: any(is_overdue(entry.conclusion) for entry in journal_of(world.installation.settings, late)))

    world.courier.stop()
    world.installation.ask("resume", paused)
    concluded(world, odd, 3_001, LifecycleChanged("running", "completed", "ada asked for it"))
    concluded(world, blind, 4_001, MonitorBlind("rejects", "", since, since + 9))
    world.ack(world.last(late))
    world.courier = world.installation.worker("courier")

    for name, alertname in told.items():
        world.wait(lambda ended=(alertname, "resolved"), name=name: ended in world.told(name))
        statuses = [status for told, status in world.told(name) if told == alertname]
        assert statuses == ["firing"] * (len(statuses) - 1) + ["resolved"]
    world.ack(world.last(paused))


def concluded(world: World, experiment: str, number: int, said: Conclusion) -> None:
    at = time.time_ns() // 1_000
    entry = JournalEntry(f"e{number}", experiment, number, 1, 1, at, 0, 10**9, number, GENESIS, said)
    world.put("journal", experiment, journal.encode(entry))


def test_who_completes_an_experiment_ends_its_alerts(world: World) -> None:
    name = world.running()
    world.installation.ask("pause", name)
    world.ack(world.last(name))
    world.wait(lambda: world.told(name))
    concluded(world, name, 2_000, LifecycleChanged("paused", "completed", "ada asked for it"))
    world.wait(lambda: len(world.told(name)) >= 2)
    assert world.told(name) == [("StoplossPause", "firing"), ("StoplossPause", "resolved")]


def test_blindness_is_told_when_it_begins_and_when_it_is_over(world: World) -> None:
    name = world.running()
    since = time.time_ns() // 1_000
    for number, until in ((1_000, None), (1_001, since + 9)):
        concluded(world, name, number, MonitorBlind("rejects", "intake refused 61 %", since, until))
    world.wait(lambda: len(world.told(name)) >= 2)
    assert world.told(name) == [("StoplossMonitorBlind", "firing"), ("StoplossMonitorBlind", "resolved")]
