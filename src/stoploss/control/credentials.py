"""What a Kafka with passwords begins with: an authority, the broker's certificate, and a password for each user.

For one machine and for tests. Where it matters, your own authority signs the brokers and your store of secrets has the
passwords; the names of the users stay (stoploss.acls).
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from stoploss.acls import GRANTS, principal
from stoploss.errors import ConfigurationError
from stoploss.settings import Settings

ADMIN = "admin"
"""The one user whom no ACL holds: it makes topics, ACLs and users, and no role runs as it."""
CA_FILE, BROKER_FILE, PASSWORD_SUFFIX = "ca.pem", "broker.pem", ".password"
VALID_FOR = timedelta(days=365)
CLOCKS_DIFFER = timedelta(days=1)
PASSWORD_BYTES = 32
NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,62})(\.[A-Za-z0-9][A-Za-z0-9-]{0,62})*")


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs certificates; its own is what clients trust. The key is written nowhere: nobody signs another with it."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def new(cls, name: str) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        made = _begun(_named(name), _named(name), key.public_key())
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        made = made.add_extension(_USED_TO_SIGN, critical=True)
        return cls(key, made.sign(key, hashes.SHA256()))

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def identity(self, hosts: Sequence[str]) -> bytes:
        """A key (PKCS#8), a certificate for the hosts, and the authority's: one PEM, as a broker wants it."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = _begun(_named("stoploss broker"), self.certificate.subject, key.public_key())
        made = made.add_extension(x509.SubjectAlternativeName([alternative(host) for host in hosts]), critical=False)
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        signed = made.add_extension(issuer, critical=False).sign(self.key, hashes.SHA256())
        return _private_pem(key) + signed.public_bytes(serialization.Encoding.PEM) + self.pem


@dataclass(frozen=True, slots=True)
class Credentials:
    """What was written: users are Kafka's, each with its password in `<user>.password`."""

    directory: Path
    users: tuple[str, ...]
    expires: datetime


def create_credentials(directory: Path, settings: Settings, hosts: Sequence[str]) -> Credentials:
    """Makes the directory with the authority's certificate, the broker's identity and a password for each user.

    Raises ConfigurationError where the directory is there already: brokers know the passwords that were in it.
    """
    authority = Authority.new(f"stoploss {settings.installation}")
    files = {CA_FILE: authority.pem, BROKER_FILE: authority.identity(hosts)}
    users = user_names(settings)
    # Without a line break at the end: not every program that reads such a file cuts it off.
    files |= {f"{user}{PASSWORD_SUFFIX}": secrets.token_hex(PASSWORD_BYTES).encode() for user in users}
    _write_all(directory, files)
    return Credentials(directory, users, authority.certificate.not_valid_after_utc)


def user_names(settings: Settings) -> tuple[str, ...]:
    """Everybody who needs a password: the administrator, and whoever has a line in the table of ACLs."""
    return ADMIN, *(principal(user, settings).removeprefix("User:") for user in GRANTS)


def alternative(host: str) -> x509.GeneralName:
    """How a certificate names the host. Raises ConfigurationError where it is neither name nor address."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        if not NAME.fullmatch(host):
            raise ConfigurationError(
                f"--host {host}: a host is a name or an address, without a port: --host kafka --host 127.0.0.1"
            ) from None
    return x509.DNSName(host)


def _write_all(directory: Path, files: Mapping[str, bytes]) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise ConfigurationError(
            f"{directory} is there already, and nothing is written over: brokers know the passwords in it; "
            "move it away, or name another directory"
        ) from None
    for name, content in files.items():
        _write(directory / name, content)


def _write(path: Path, content: bytes) -> None:
    """Readable by all, in a directory that only its owner can enter: a container's user is another one than the owner,
    and is given the file itself."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), 0o644)


# ---- certificates ----------------------------------------------------------------------------------

_USED_TO_SIGN = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def _begun(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_DIFFER)
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
