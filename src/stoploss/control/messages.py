"""A command as a Kafka message: Avro value, CloudEvents headers in binary mode, and the signature over the value.

Source: CloudEvents 1.0, Kafka protocol binding, "Binary Content Mode".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stoploss.commands import Action, Command
from stoploss.control.rfc3339 import rfc3339
from stoploss.errors import CommandRefused, WireError
from stoploss.signing import SIGNATURE_HEADER, Signer, Verifier, key_id_in
from stoploss.wire import records

Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class CommandMessage:
    """What stands on the control topic; the key is the experiment."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers


def write_command(command: Command, signer: Signer, installation: str) -> CommandMessage:
    """The message of a command, for the topic that it names; raises MalformedRecord where it does not fit."""
    value = records.encode("command", command)
    headers = {**cloud_event(command, installation), SIGNATURE_HEADER: signer.sign(value)}
    encoded = [(name, text.encode()) for name, text in headers.items()]
    return CommandMessage(command.topic, command.experiment.encode(), value, encoded)


def cloud_event(command: Command, installation: str) -> dict[str, str]:
    """Headers by which others route and log; receivers obey the signed value alone."""
    return {
        "ce_specversion": "1.0",
        "ce_id": command.command_id,
        "ce_type": f"dev.stoploss.command.{command.action.value}.v1",
        "ce_source": f"stoploss/{installation}",
        "ce_subject": command.experiment,
        "ce_time": rfc3339(command.decided_at),
        "content-type": "application/avro",
    }


def read_command(value: bytes | None, headers: Headers | None, topic: str, verifier: Verifier) -> Command:
    """The command of a message: verified first, then parsed; raises CommandRefused with the reason."""
    key_id = verifier.verify(value or b"", _signature(headers or ()))
    try:
        command = records.decode(value, {"command": Command}, own=True)
    except WireError as error:
        raise CommandRefused(f"rightly signed, but no command: {error}") from error
    if command.topic != topic:
        raise CommandRefused(
            f"made for the topic {command.topic!r} but read from {topic!r}: it was copied from another installation"
        )
    _check_authority(command, key_id, verifier)
    return command


def _check_authority(command: Command, key_id: str, verifier: Verifier) -> None:
    """A person's key breaks the glass and does nothing else; nobody but a person breaks it."""
    if not verifier.is_of_people(key_id):
        if command.breaks_glass:
            raise CommandRefused(
                f"key {key_id} is the monitor's and its command has no sequence: only people's have none"
            )
        return
    takes_away = command.action is Action.STOP and command.exposure == 0
    if not (command.breaks_glass and takes_away and command.release_variant == command.control_variant):
        raise CommandRefused(
            f"key {key_id} may only break the glass: a stop without sequence that gives everybody the control variant"
        )


def signing_key(headers: Headers) -> str:
    """Id of the key that a message names: believe it only after `read_command`."""
    return key_id_in(_signature(headers))


def _signature(headers: Headers) -> bytes | None:
    found = [value for name, value in headers if name == SIGNATURE_HEADER]
    if len(found) > 1:
        raise CommandRefused(f"{len(found)} headers {SIGNATURE_HEADER}; a command carries exactly one")
    return found[0] if found else None
