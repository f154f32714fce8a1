"""The courier on the real broker, beside registrar and judge: commands, acks, and who works."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from stoploss.cli.break_glass import command_of
from stoploss.commands import AckStatus, Action
from stoploss.control.controller import UNVERIFIED
from stoploss.control.keys import create_keys
from stoploss.control.messages import write_command
from stoploss.journal import (
    CommandAcked,
    EpochOpened,
    RequestHandled,
)
from stoploss.lifecycle import BREAK_GLASS
from stoploss.signing import Signer
from streams.courier import LARGEST_ACK_BYTES
from tests.control.orders import rollback
from tests.installation import (
    group_of,
    headers_of,
    journal_of,
    letters_of,
    registry_of,
)
from tests.streams.couriers import DEADLINE_MS, World, is_overdue

pytestmark = pytest.mark.kafka


def test_a_command_that_nobody_applies_is_sent_again_byte_for_byte_and_on_call_is_told_once(world: World) -> None:
    name = world.started()
    world.wait(lambda: len(world.sent(name)) >= 4)
    copies = {(m.value(), tuple(headers_of(m)), m.partition()) for m in world.sent(name)}
    assert len(copies) == 1
    overdue = world.overdue(name)
    assert [fact.resent for fact in overdue[:3]] == [1, 2, 3]
    assert overdue[0].waited_ms >= DEADLINE_MS
    assert {fact.command_id for fact in overdue} == {world.last(name).command_id}
    world.wait(lambda: world.told(name))
    assert world.told(name) == [("StoplossCommandOverdue", "firing")]


def test_what_is_applied_is_not_sent_again_and_opens_the_epoch(world: World) -> None:
    settled, open_ = world.running(), world.started()
    count = len(world.sent(settled))
    world.wait(lambda: len(world.overdue(open_)) >= 3)
    assert len(world.sent(settled)) == count
    conclusions = [entry.conclusion for entry in journal_of(world.installation.settings, settled)]
    # The deadline is short: the test's own ack may have come after it.
    acked = [c for c in conclusions if isinstance(c, CommandAcked | EpochOpened) and not is_overdue(c)]
    assert [type(c) for c in acked] == [CommandAcked, EpochOpened]


def test_of_three_instances_a_dead_one_is_named_told_and_keeps_the_command_from_counting_as_applied(
    world: World,
) -> None:
    for instance in ("a", "b", "c"):
        world.present("edge", instance)
    name = world.registered("edge")
    world.wait(lambda: len(world.acked(name)) >= 3)
    world.installation.ask("start", name)
    world.wait(lambda: world.sent(name))
    start = world.last(name)
    for instance in ("a", "b"):
        world.ack(start, "edge", instance=instance)
    world.wait(lambda: len(world.overdue(name)) >= 2 and world.told(name))
    assert {(fact.controller, fact.instance) for fact in world.overdue(name)[-2:]} == {("edge", "c")}
    assert ("StoplossCommandOverdue", "firing") in world.told(name)
    assert not opened(world, name)
    world.ack(start, "edge", instance="c")
    world.wait(lambda: opened(world, name))
    world.wait(lambda: ("StoplossCommandOverdue", "resolved") in world.told(name))


def opened(world: World, experiment: str) -> bool:
    entries = journal_of(world.installation.settings, experiment)
    return any(isinstance(entry.conclusion, EpochOpened) for entry in entries)


def test_an_instance_that_goes_in_order_is_waited_for_no_more(world: World) -> None:
    for instance in ("a", "b"):
        world.present("side", instance)
    name = world.registered("side")
    world.wait(lambda: len(world.acked(name)) >= 2)
    world.installation.ask("start", name)
    world.wait(lambda: world.sent(name))
    world.ack(world.last(name), "side", instance="a")
    world.present("side", "b", AckStatus.LEFT)
    world.wait(lambda: opened(world, name))


def test_the_refusal_of_a_forgery_reaches_the_journal_with_its_reason(world: World) -> None:
    name = world.running()
    forged = replace(world.last(name), command_id="unverified-00", run=0, sequence=0)
    world.ack(forged, status=AckStatus.REJECTED, reason="not signed")
    world.wait(lambda: refused(world, name))
    assert refused(world, name) == [("unverified-00", "not signed")]


def refused(world: World, experiment: str) -> list[tuple[str, str]]:
    conclusions = [entry.conclusion for entry in journal_of(world.installation.settings, experiment)]
    return [(c.command_id, c.reason) for c in conclusions if isinstance(c, CommandAcked) and c.status == "rejected"]


def test_broken_glass_becomes_a_fact_and_the_judge_stops_in_its_own_order(world: World) -> None:
    name, settings = world.running(), world.installation.settings
    entry = registry_of(settings, name)
    assert entry is not None
    person = Signer.load(settings.keys / "break-glass.key")
    glass = command_of(entry, "ada broke the glass", settings.topics("control"), "nonce", time.time_ns() // 1_000)
    message = write_command(glass, person, settings.installation)
    world.put_control(entry.partition, message)
    world.wait(lambda: world.last(name).sequence == 2)
    assert (world.last(name).action, world.last(name).exposure) == (Action.STOP, 0.0)
    [handled] = [
        entry.conclusion
        for entry in journal_of(settings, name)
        if isinstance(entry.conclusion, RequestHandled) and entry.conclusion.action == BREAK_GLASS
    ]
    assert (handled.accepted, handled.by) == (True, f"break-glass key {person.key_id}")
    assert handled.reason == "ada broke the glass"
    world.wait(lambda: ("StoplossStop", "firing") in world.told(name))


def test_a_rejected_command_is_sent_again_and_the_reason_is_in_the_ledger(world: World) -> None:
    name = world.started()
    world.put("acks", name, b"no ack, which keeps the next from nothing")
    world.ack(world.last(name), status=AckStatus.REJECTED)
    world.wait(lambda: world.acked(name) and len(world.sent(name)) >= 2)
    assert [fact.status for fact in world.acked(name)] == ["rejected"]


def test_the_ack_of_a_stranger_settles_nothing_and_does_not_reach_the_ledger(world: World) -> None:
    name = world.started()
    world.ack(world.last(name), controller="stranger")
    world.wait(lambda: len(world.overdue(name)) >= 2)
    world.ack(world.last(name))
    world.wait(lambda: world.acked(name))
    assert [fact.controller for fact in world.acked(name)] == ["flagd"]


def test_an_ack_that_nobody_can_read_is_a_dead_letter_and_its_neighbours_arrive(world: World) -> None:
    name, settings = world.started(), world.installation.settings
    spoilt = {b"\xc3\x01 no ack": "malformed", b"x" * (LARGEST_ACK_BYTES + 1): "too_large"}
    for value in spoilt:
        world.put("acks", name, value)
    world.ack(world.last(name))
    world.wait(lambda: world.acked(name))
    letters = [
        letter for letter in letters_of(settings) if letter.value in {value[: len(letter.value)] for value in spoilt}
    ]
    assert {(letter.size, letter.code) for letter in letters} == {(len(v), code) for v, code in spoilt.items()}
    assert {letter.source.topic for letter in letters} == {settings.topics("acks")}


def test_a_line_of_the_log_names_the_experiment_and_the_command_that_it_tells_of(world: World) -> None:
    command = world.last(world.started())
    [line] = [line for line in world.judge.said.splitlines() if f"command_id='{command.command_id}'" in line]
    assert f" experiment='{command.experiment}' " in line
    assert " action='set_exposure' " in line


def test_an_ack_of_an_experiment_that_the_registry_does_not_show_yet_is_no_strangers(world: World) -> None:
    """A commit may be seen on control before it is on registry: the command says where its experiment lives."""
    settings = world.installation.settings
    order = rollback(experiment="not-shown-yet", topic=settings.topics("control"))
    world.put_control(1, write_command(order, world.installation.keys.signer, settings.installation))
    world.wait(lambda: world.sent("not-shown-yet"))
    world.ack(order)
    world.wait(lambda: world.acked("not-shown-yet"))
    [partition] = {m.partition() for m in world.ledger.seen() if b"not-shown-yet" in (m.value() or b"")}
    assert partition == 1


def test_a_later_command_takes_the_place_of_one_that_was_not_applied(world: World) -> None:
    name = world.started()
    world.installation.ask("stop", name)
    world.wait(lambda: world.last(name).sequence == 2)
    stop = world.last(name).command_id
    world.wait(lambda: sum(fact.command_id == stop for fact in world.overdue(name)) >= 2)
    later = world.overdue(name)[-2:]
    assert {fact.command_id for fact in later} == {stop}


def test_a_forged_command_is_neither_told_nor_sent_again(world: World, tmp_path: Path) -> None:
    name = world.running()
    settings = world.installation.settings
    forger = Signer.load(create_keys(tmp_path / "forger").private)
    order = rollback(sequence=9, experiment=name, topic=settings.topics("control"))
    forged = write_command(order, forger, settings.installation)
    headers = [(header, value or b"") for header, value in forged.headers]
    world.put("control", name, forged.value, headers)
    world.wait(lambda: "a command that no monitor signed stands on the control topic" in world.courier.said)
    world.installation.ask("pause", name)
    world.wait(lambda: world.told(name))
    assert world.told(name) == [("StoplossPause", "firing")]
    assert sum(message.value() == forged.value for message in world.sent(name)) == 1
    world.wait(lambda: refused(world, name))
    [(command_id, reason)] = refused(world, name)
    assert command_id.startswith(UNVERIFIED)
    assert "is not trusted here" in reason


def test_a_second_courier_stands_by_and_takes_over_commands_that_it_never_read(world: World) -> None:
    """What one reads of the acks settles what another would wait for: nothing is shared out."""
    standby = world.installation.worker("courier")
    settled, open_ = world.running(), world.started()
    world.wait(lambda: len(shares(world)) == 2)
    world.wait(lambda: len(world.overdue(open_)) >= 2)
    assert sorted(map(bool, shares(world))) == [False, True]
    assert [fact.resent for fact in world.overdue(open_)] == list(range(1, len(world.overdue(open_)) + 1))

    before, copies = len(world.overdue(settled)), len(world.sent(settled))
    world.courier.kill()
    world.courier = standby
    world.wait(lambda: sum(fact.resent == 2 for fact in world.overdue(open_)) == 2)
    assert (len(world.overdue(settled)), len(world.sent(settled))) == (before, copies)
    world.ack(world.last(open_))
    world.wait(lambda: ("StoplossCommandOverdue", "resolved") in world.told(open_))


def shares(world: World) -> list[int]:
    """Partitions of each courier."""
    settings = world.installation.settings
    client, group = AdminClient({"bootstrap.servers": settings.need_kafka()}), group_of(settings, "courier")
    [described] = client.describe_consumer_groups([group]).values()
    try:
        members = described.result().members
    except KafkaException:  # its coordinator has just begun
        return []
    return [len(member.assignment.topic_partitions) for member in members]
