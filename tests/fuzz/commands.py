"""Damaged commands: a controller answers or is silent, switches nothing that it should not, and never falls over."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from stoploss.commands import AckStatus, Action, Command, Segment
from stoploss.control.controller import Controller
from stoploss.control.flagd import FlagdFile
from stoploss.control.keys import create_keys
from stoploss.control.messages import CommandMessage, write_command
from stoploss.control.position import PositionFile
from stoploss.signing import SIGNATURE_HEADER, Signer, Verifier
from stoploss.wire import records
from tests.control.orders import EVIDENCE, NOW, order, rollback
from tests.fuzz.mutations import DOUBLES, LONGS, STRINGS, damaged

COMMANDS = (
    order(),
    rollback(2, evidence=EVIDENCE),
    order(Action.STOP_SEGMENT, 3, stopped_segments=(Segment("a", "b"),)),
)


def check(seed: int) -> int:
    """What is not rightly signed is rejected, whatever it looks like; what is, is obeyed or refused with a reason."""
    with TemporaryDirectory() as directory:
        create_keys(Path(directory))
        return _check(Random(seed), _controller(Path(directory)), Signer.load(Path(directory) / "monitor.key"))


def _controller(directory: Path) -> Controller:
    return Controller(
        name="flagd",
        instance="a",
        actuator=FlagdFile(directory / "flags.json"),
        verifier=Verifier.load(directory / "monitor.pub"),
        positions=PositionFile(directory / "positions.json"),
        clock=lambda: NOW,
    )


def _check(rng: Random, controller: Controller, signer: Signer) -> int:
    for _ in range(20):
        message = write_command(_odd(rng), signer, "test")
        resigned = rng.random() < 0.4
        value = damaged(rng, message.value, rng.choice((0, 10)))
        headers = [(SIGNATURE_HEADER, signer.sign(value).encode())] if resigned else _headers(rng, message)
        acks = controller.handle(CommandMessage(message.topic, rng.choice((message.key, b"\xff")), value, headers))
        said = [ack.status for ack in acks]
        if not resigned and value != message.value:
            assert said == [AckStatus.REJECTED], acks
        assert said in ([AckStatus.REJECTED], *([AckStatus.RECEIVED, last] for last in AckStatus)), acks
        assert all(ack.reason for ack in acks if ack.status is AckStatus.REJECTED), acks
        for ack in acks:
            records.encode("ack", ack)
    return 20


def _odd(rng: Random) -> Command:
    """A command that its schema allows, with one field that is not as usual."""
    command = rng.choice(COMMANDS)
    change: dict[str, Any] = rng.choice(
        (
            {},
            {"exposure": rng.choice((*DOUBLES, 0.5))},
            {"run": rng.choice((-1, 0, 2**31 - 1))},
            {"sequence": rng.choice(LONGS)},
            {"decided_at": rng.choice((0, NOW))},
            {"expires_at": rng.choice((None, 0, NOW - 1, *LONGS))},
            {"flag": rng.choice(STRINGS)},
            {"experiment": rng.choice(STRINGS)},
            {"release_variant": rng.choice(("current", "small", *STRINGS))},
            {"stopped_segments": (Segment(rng.choice(STRINGS), rng.choice(STRINGS)),)},
            {"action": rng.choice(list(Action))},
        )
    )
    return dataclasses.replace(command, **change)


def _headers(rng: Random, message: CommandMessage) -> list[tuple[str, bytes | None]]:
    signature = dict(message.headers)[SIGNATURE_HEADER] or b""
    hostile = (signature, None, b"", b"\xff" * 99, signature[:-1], signature + b"=", damaged(rng, signature))
    found = [(SIGNATURE_HEADER, rng.choice(hostile)) for _ in range(rng.choice((0, 1, 1, 1, 2)))]
    return [*found, ("ce_type", rng.choice((None, b"\xff", b"dev.stoploss.command.stop.v1")))]
