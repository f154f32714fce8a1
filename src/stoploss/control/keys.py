"""Makes the installation's key pair and its secret; the only place of the command side that reads chance."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from stoploss.errors import ConfigurationError
from stoploss.signing import key_id_of
from stoploss.spec.base import check_name

PRIVATE_NAME = "monitor.key"
PUBLIC_NAME = "monitor.pub"
BREAK_GLASS_PRIVATE_NAME = "break-glass.key"
BREAK_GLASS_PUBLIC_NAME = "break-glass.pub"
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Where the two halves are, and the key id that signatures will name."""

    private: Path
    public: Path
    key_id: str


def create_keys(directory: Path) -> KeyPair:
    """Makes monitor.key (PEM, 0600) and monitor.pub (PEM); raises ConfigurationError rather than overwrite one."""
    return _create_pair(directory / PRIVATE_NAME, directory / PUBLIC_NAME)


def create_break_glass_keys(directory: Path) -> KeyPair:
    """Makes the pair of people who may stop past the monitor; the private half belongs where on-call can reach it."""
    return _create_pair(directory / BREAK_GLASS_PRIVATE_NAME, directory / BREAK_GLASS_PUBLIC_NAME)


def create_person_keys(directory: Path, name: str) -> KeyPair:
    """Makes the pair of one person or CI, which signs requests; the file's name is the person's."""
    try:
        check_name(name)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    return _create_pair(directory / f"{name}.key", directory / f"{name}.pub")


def _create_pair(private: Path, public: Path) -> KeyPair:
    private.parent.mkdir(parents=True, exist_ok=True)
    for path in (private, public):
        if path.exists():
            raise ConfigurationError(
                f"{path} exists already and is not overwritten: controllers trust it; "
                "move it away first, or give another directory"
            )
    key = Ed25519PrivateKey.generate()
    _create(private, _private_pem(key), 0o600)
    _create(public, _public_pem(key), 0o644)
    return KeyPair(private, public, key_id_of(key.public_key()))


def _private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _public_pem(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _create(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def load_or_create_secret(path: Path) -> bytes:
    """The installation's secret, 32 bytes, 0600: MAC key of snapshots and salt of hashes; made at the first call.

    Processes that start together agree on one. Raises ConfigurationError where the file holds anything else: a new
    secret would make every snapshot unreadable and every unit a new one, so it is never replaced.
    """
    if not path.exists():
        _create_secret(path)
    secret = path.read_bytes()
    if len(secret) != SECRET_BYTES:
        raise ConfigurationError(
            f"{path} holds {len(secret)} bytes where the secret has {SECRET_BYTES}; restore it from a backup, "
            "or delete it to begin anew without the old snapshots"
        )
    return secret


def _create_secret(path: Path) -> None:
    """Written beside and linked into place: where another process was first, `link` fails and its secret counts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    _create(temporary, os.urandom(SECRET_BYTES), 0o600)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return
    finally:
        temporary.unlink()
