"""Commands that a controller must not obey: each is refused, and recorded with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoploss.commands import Action
from stoploss.control.controller import UNVERIFIED, Controller
from stoploss.control.flagd import FlagdFile
from stoploss.control.keys import create_keys
from stoploss.control.messages import CommandMessage, write_command
from stoploss.control.position import PositionFile
from stoploss.signing import SIGNATURE_HEADER, Signer, Verifier
from tests.control.orders import NOW, SECOND, order, rollback


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    create_keys(tmp_path)
    return Controller(
        name="flagd",
        instance="a",
        actuator=FlagdFile(tmp_path / "flags.json"),
        verifier=Verifier.load(tmp_path / "monitor.pub"),
        positions=PositionFile(tmp_path / "positions.json"),
        clock=lambda: NOW + 3_600 * SECOND,
    )


@pytest.fixture
def signer(controller: Controller, tmp_path: Path) -> Signer:
    return Signer.load(tmp_path / "monitor.key")


def forged(message: CommandMessage, tmp_path: Path) -> CommandMessage:
    """Signed, by a key that nobody here trusts."""
    create_keys(tmp_path / "others")
    stranger = Signer.load(tmp_path / "others" / "monitor.key")
    headers = [(SIGNATURE_HEADER, stranger.sign(message.value).encode())]
    return CommandMessage(message.topic, message.key, message.value, headers)


def unsigned(message: CommandMessage, tmp_path: Path) -> CommandMessage:
    return CommandMessage(message.topic, message.key, message.value, [])


def from_another_topic(message: CommandMessage, tmp_path: Path) -> CommandMessage:
    return CommandMessage("other.control", message.key, message.value, message.headers)


UNVERIFIABLE = {
    "forged command": (forged, "is not trusted here"),
    "unsigned command": (unsigned, "not signed"),
    "command copied from another topic": (from_another_topic, "made for the topic"),
}


@pytest.mark.parametrize("row", UNVERIFIABLE)
def test_a_command_that_no_monitor_gave_here_is_refused_and_recorded(
    row: str, controller: Controller, signer: Signer, tmp_path: Path
) -> None:
    change, reason = UNVERIFIABLE[row]
    (ack,) = controller.handle(change(write_command(order(), signer, "test"), tmp_path))
    assert (ack.status, ack.command_id.startswith(UNVERIFIED)) == ("rejected", True)
    assert reason in ack.reason
    assert not (tmp_path / "flags.json").exists()


OUT_OF_TURN = {
    "replayed command": (order(sequence=1, expires_at=None), "its sequence 1 is below 2"),
    "an expired raise": (order(sequence=3, run=2), "it raises exposure and expired"),
    "a raise after a stop": (order(Action.THROTTLE, 3, exposure=0.01, expires_at=None), "was stopped"),
}


@pytest.mark.parametrize("row", OUT_OF_TURN)
def test_a_command_out_of_its_turn_is_refused_and_recorded(row: str, controller: Controller, signer: Signer) -> None:
    command, reason = OUT_OF_TURN[row]
    controller.handle(write_command(rollback(2), signer, "test"))
    received, refused = controller.handle(write_command(command, signer, "test"))
    assert [received.status, refused.status] == ["received", "rejected"]
    assert reason in refused.reason
    assert _position(controller) == ("c-1-2", 0.0)


def _position(controller: Controller) -> tuple[str, float]:
    standing = controller._standing["checkout"]
    return standing.command_id, standing.exposure
