from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from stoploss.control.keys import create_keys
from stoploss.errors import CommandRefused, ConfigurationError
from stoploss.signing import Signer, Verifier


def _pair(directory: Path) -> tuple[Signer, Verifier]:
    keys = create_keys(directory)
    return Signer.load(keys.private), Verifier.load(keys.public)


def test_what_was_signed_verifies_as_text_and_as_header_bytes(tmp_path: Path) -> None:
    signer, verifier = _pair(tmp_path)
    header = signer.sign(b"value")
    verifier.verify(b"value", header)
    verifier.verify(b"value", header.encode())


def test_the_header_names_the_key_by_the_start_of_its_hash(tmp_path: Path) -> None:
    keys = create_keys(tmp_path)
    public = serialization.load_pem_public_key(keys.public.read_bytes())
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    header = Signer.load(keys.private).sign(b"value")
    assert header.startswith(f"keyid={hashlib.sha256(raw).hexdigest()[:8]};ed25519=")
    assert len(base64.b64decode(header.partition("ed25519=")[2])) == 64


@pytest.mark.parametrize("at", [0, 3, -1])
def test_one_changed_bit_is_refused(tmp_path: Path, at: int) -> None:
    signer, verifier = _pair(tmp_path)
    forged = bytearray(b"value")
    forged[at] ^= 1
    with pytest.raises(CommandRefused, match="changed on its way, or it is forged"):
        verifier.verify(bytes(forged), signer.sign(b"value"))


@pytest.mark.parametrize("header", [None, "", b""])
def test_an_unsigned_value_is_refused(tmp_path: Path, header: str | bytes | None) -> None:
    with pytest.raises(CommandRefused, match="stoploss-signature is missing"):
        _pair(tmp_path)[1].verify(b"value", header)


@pytest.mark.parametrize(
    "header",
    [
        "ed25519=AAAA",
        "keyid=12345678;ed25519=AAAA",
        "keyid=12345678;ed25519=" + "!" * 88,
        "keyid=1234567G;ed25519=" + "A" * 86 + "==",
        " keyid=12345678;ed25519=" + "A" * 86 + "==",
        b"keyid=\xff\xfe",
    ],
)
def test_a_malformed_header_is_refused(tmp_path: Path, header: str | bytes) -> None:
    with pytest.raises(CommandRefused, match="is malformed"):
        _pair(tmp_path)[1].verify(b"value", header)


def test_a_key_that_is_not_trusted_is_refused_and_named(tmp_path: Path) -> None:
    stranger, _ = _pair(tmp_path / "stranger")
    _, verifier = _pair(tmp_path / "own")
    with pytest.raises(CommandRefused, match=f"key {stranger.key_id}, which is not trusted"):
        verifier.verify(b"value", stranger.sign(b"value"))


def test_a_trusted_key_id_on_a_strangers_signature_is_refused(tmp_path: Path) -> None:
    own, verifier = _pair(tmp_path / "own")
    stranger, _ = _pair(tmp_path / "stranger")
    header = stranger.sign(b"value").replace(stranger.key_id, own.key_id)
    with pytest.raises(CommandRefused, match="is wrong"):
        verifier.verify(b"value", header)


def test_two_keys_are_trusted_while_one_replaces_the_other(tmp_path: Path) -> None:
    old, new = create_keys(tmp_path / "old"), create_keys(tmp_path / "new")
    verifier = Verifier.load(old.public, new.public)
    for keys in (old, new):
        verifier.verify(b"value", Signer.load(keys.private).sign(b"value"))


def test_a_missing_key_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="stoploss keys"):
        Signer.load(tmp_path / "monitor.key")
    with pytest.raises(ConfigurationError, match="stoploss keys"):
        Verifier.load(tmp_path / "monitor.pub")


def test_a_file_that_holds_no_key_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "monitor.key"
    wrong.write_text("no key")
    with pytest.raises(ConfigurationError, match="holds no unencrypted PEM private key"):
        Signer.load(wrong)
    with pytest.raises(ConfigurationError, match="holds no PEM public key"):
        Verifier.load(wrong)


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = tmp_path / "ec.key", tmp_path / "ec.pub"
    pem = serialization.Encoding.PEM
    private.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(ConfigurationError, match="signed with Ed25519"):
        Signer.load(private)
    with pytest.raises(ConfigurationError, match="signed with Ed25519"):
        Verifier.load(public)


def test_a_verifier_without_keys_is_refused_rather_than_trusting_nobody_silently() -> None:
    with pytest.raises(ConfigurationError, match="no public key"):
        Verifier.load()
