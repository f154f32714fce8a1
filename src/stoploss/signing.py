"""Ed25519 over the exact bytes of a value: the monitor signs, a receiver verifies, and only then parses.

The header reads `keyid=<8 hex>;ed25519=<base64 of 64 bytes>`; the key id is the start of sha256 over the public key.
Keys are made in control/keys.py, where chance may be read.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from stoploss.errors import CommandRefused, ConfigurationError

SIGNATURE_HEADER = "stoploss-signature"
_HEADER = re.compile(r"keyid=([0-9a-f]{8});ed25519=([A-Za-z0-9+/]{86}==)")


def key_id_of(public: Ed25519PublicKey) -> str:
    """First 8 hex digits of sha256 over the raw 32 bytes of the public key."""
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:8]


def raw_text(public: Ed25519PublicKey) -> str:
    """The 32 bytes of a public key as base64: what stands in a file of roles."""
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return base64.b64encode(raw).decode()


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the {what} {path}: {error.strerror}; make a key pair with `stoploss keys`"
        ) from error


def _load_private(path: Path) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(_read(path, "signing key"), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(
            f"{path} holds no unencrypted PEM private key; make one with `stoploss keys`"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(f"{path} holds a {type(key).__name__}; commands are signed with Ed25519")
    return key


def load_public_key(path: Path) -> Ed25519PublicKey:
    """The key of a PEM file; raises ConfigurationError where it holds none."""
    try:
        key = serialization.load_pem_public_key(_read(path, "public key"))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"{path} holds no PEM public key; give the monitor.pub of `stoploss keys`") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigurationError(f"{path} holds a {type(key).__name__}; commands are signed with Ed25519")
    return key


class Signer:
    """Signs values with one private key (30 µs each)."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.key_id = key_id_of(key.public_key())

    @classmethod
    def load(cls, path: Path) -> Signer:
        """The signer of a PEM private key; raises ConfigurationError where the file holds none."""
        return cls(_load_private(path))

    def sign(self, value: bytes) -> str:
        """The header's text for these bytes."""
        signature = base64.b64encode(self._key.sign(value)).decode()
        return f"keyid={self.key_id};ed25519={signature}"


class Verifier:
    """Trusts the public keys it was given, several while a key is being changed (99 µs a value)."""

    def __init__(
        self, keys: Mapping[str, Ed25519PublicKey], break_glass: Mapping[str, Ed25519PublicKey] | None = None
    ) -> None:
        """break_glass: keys of people; what they sign may only take the treatment away."""
        self._keys = {**keys, **(break_glass or {})}
        self._of_people = frozenset(break_glass or {})

    @classmethod
    def load(cls, *paths: Path, break_glass: Path | None = None) -> Verifier:
        """The verifier of some PEM public keys; raises ConfigurationError where there is none.

        break_glass: the public key of people; where there is no such file, nobody may break the glass
        """
        if not paths:
            raise ConfigurationError("no public key to verify commands with; give the monitor.pub of `stoploss keys`")
        people = [load_public_key(break_glass)] if break_glass is not None and break_glass.exists() else []
        return cls(_by_id(map(load_public_key, paths)), _by_id(people))

    def is_of_people(self, key_id: str) -> bool:
        return key_id in self._of_people

    def verify(self, value: bytes, header: str | bytes | None) -> str:
        """Id of the trusted key that signed exactly these bytes; raises CommandRefused with the reason elsewhere."""
        key_id, signature = _parse(header)
        key = self._keys.get(key_id)
        if key is None:
            trusted = ", ".join(sorted(self._keys))
            raise CommandRefused(f"signed by key {key_id}, which is not trusted here; trusted: {trusted}")
        try:
            key.verify(signature, value)
        except InvalidSignature:
            raise CommandRefused(
                f"the signature of key {key_id} is wrong: the value was changed on its way, or it is forged"
            ) from None
        return key_id


def _by_id(keys: Iterable[Ed25519PublicKey]) -> dict[str, Ed25519PublicKey]:
    return {key_id_of(key): key for key in keys}


def key_id_in(header: str | bytes | None) -> str:
    """The key id that a header names; raises CommandRefused where it is none."""
    return _parse(header)[0]


def _parse(header: str | bytes | None) -> tuple[str, bytes]:
    """Key id and 64 bytes of signature."""
    if not header:
        raise CommandRefused(f"not signed: the header {SIGNATURE_HEADER} is missing")
    text = header.decode("ascii", "replace") if isinstance(header, bytes) else header
    match = _HEADER.fullmatch(text)
    if match is None:
        raise CommandRefused(
            f"the header {SIGNATURE_HEADER} is malformed: {text[:40]!r}; keyid=<8 hex>;ed25519=<base64> belongs there"
        )
    return match[1], base64.b64decode(match[2])
