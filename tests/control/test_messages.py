from __future__ import annotations

import pytest

from stoploss.commands import Ack, AckStatus, Action, Segment
from stoploss.control.messages import CommandMessage, Headers, read_command, write_command
from stoploss.errors import CommandRefused
from stoploss.signing import Signer, Verifier
from stoploss.wire import records

from .orders import EVIDENCE, NOW, TOPIC, order, rollback


def _signed(value: bytes, signer: Signer) -> Headers:
    return [("stoploss-signature", signer.sign(value).encode())]


def _without(message: CommandMessage, name: str) -> Headers:
    return [header for header in message.headers if header[0] != name]


@pytest.mark.parametrize(
    "command",
    [order(), rollback(evidence=EVIDENCE), order(Action.STOP_SEGMENT, stopped_segments=(Segment("tenant", "Ärzte"),))],
    ids=["raise", "rollback", "segment"],
)
def test_a_command_comes_back_as_it_was_written(command: object, signer: Signer, verifier: Verifier) -> None:
    message = write_command(command, signer, "berlin")  # type: ignore[arg-type]
    assert read_command(message.value, message.headers, TOPIC, verifier) == command


def test_a_command_carries_the_headers_of_a_binary_cloud_event(signer: Signer) -> None:
    message = write_command(rollback(decided_at=NOW + 1), signer, "berlin")
    headers = {name: (value or b"").decode() for name, value in message.headers}
    assert headers.pop("stoploss-signature") == signer.sign(message.value)
    assert headers == {
        "ce_specversion": "1.0",
        "ce_id": "c-1-2",
        "ce_type": "dev.stoploss.command.rollback.v1",
        "ce_source": "stoploss/berlin",
        "ce_subject": "checkout",
        "ce_time": "2023-11-14T22:13:20.000001Z",
        "content-type": "application/avro",
    }
    assert (message.topic, message.key) == (TOPIC, b"checkout")


def test_an_unsigned_command_is_refused(signer: Signer, verifier: Verifier) -> None:
    message = write_command(rollback(), signer, "berlin")
    with pytest.raises(CommandRefused, match="not signed"):
        read_command(message.value, _without(message, "stoploss-signature"), TOPIC, verifier)
    with pytest.raises(CommandRefused, match="not signed"):
        read_command(message.value, None, TOPIC, verifier)


def test_a_value_is_verified_before_it_is_parsed(signer: Signer, verifier: Verifier) -> None:
    """Garbage with a wrong signature fails by its signature: no parser sees what is not verified."""
    with pytest.raises(CommandRefused, match="forged"):
        read_command(b"garbage", _signed(b"other", signer), TOPIC, verifier)


def test_signed_bytes_that_are_no_command_are_refused(signer: Signer, verifier: Verifier) -> None:
    ack = Ack("c", "checkout", 1, 1, "flagd", "a", AckStatus.APPLIED, "", NOW)
    for value, reason in ((b"garbage", "no command"), (records.encode("ack", ack), "a 'ack' stands where")):
        with pytest.raises(CommandRefused, match=reason):
            read_command(value, _signed(value, signer), TOPIC, verifier)


def test_bytes_after_a_signed_command_are_refused(signer: Signer, verifier: Verifier) -> None:
    value = records.encode("command", order()) + b"\x00"
    with pytest.raises(CommandRefused, match="1 bytes follow"):
        read_command(value, _signed(value, signer), TOPIC, verifier)


def test_a_command_copied_to_another_topic_is_refused(signer: Signer, verifier: Verifier) -> None:
    message = write_command(order(topic="staging.control"), signer, "berlin")
    with pytest.raises(
        CommandRefused, match=r"made for the topic 'staging\.control' but read from 'stoploss\.control'"
    ):
        read_command(message.value, message.headers, TOPIC, verifier)


def test_two_signatures_are_refused_rather_than_one_chosen(signer: Signer, verifier: Verifier) -> None:
    message = write_command(order(), signer, "berlin")
    with pytest.raises(CommandRefused, match="2 headers stoploss-signature"):
        read_command(message.value, [*message.headers, ("stoploss-signature", b"x")], TOPIC, verifier)


def test_an_empty_value_is_refused(verifier: Verifier) -> None:
    with pytest.raises(CommandRefused, match="not signed"):
        read_command(None, [], TOPIC, verifier)
