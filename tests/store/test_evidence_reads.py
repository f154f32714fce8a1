"""Signed values come back as the bytes and the header that verify them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from stoploss.control.keys import create_keys
from stoploss.errors import CommandRefused
from stoploss.signing import SIGNATURE_HEADER, Signer, Verifier
from stoploss.store import evidence_reads, inserts
from stoploss.wire import records
from tests.store import samples


def test_checkpoints_and_commands_verify_as_they_did_on_their_topics(
    database: Callable[[str], Client], tmp_path: Path
) -> None:
    client, keys = database("evidence"), create_keys(tmp_path)
    signer, verifier = Signer.load(keys.private), Verifier.load(keys.public)
    command = records.encode("command", samples.command())
    sent = {"checkpoints": samples.checkpoint_values(), "control": [command, command]}
    for stream, values in sent.items():
        stored = samples.stored(stream, values)
        signed = [replace(r, headers=((SIGNATURE_HEADER, signer.sign(r.value or b"").encode()),)) for r in stored]
        inserts.insert(client, inserts.encode(stream, signed))
    marks = evidence_reads.read_checkpoints(client, samples.NAME)
    commands = evidence_reads.read_commands(client, samples.NAME)
    assert [mark.value for mark in marks] == samples.checkpoint_values()
    assert [one.value for one in commands] == [command]
    for one in [*marks, *commands]:
        verifier.verify(one.value, one.signature)
    assert evidence_reads.read_checkpoints(client, "nobody") == evidence_reads.read_commands(client, "nobody") == []


def test_a_header_of_any_bytes_is_read_and_verifies_nothing(told: Client, tmp_path: Path) -> None:
    verifier = Verifier.load(create_keys(tmp_path).public)
    (command,) = evidence_reads.read_commands(told, samples.NAME)
    with pytest.raises(CommandRefused, match="malformed"):
        verifier.verify(command.value, command.signature)
