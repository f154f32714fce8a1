"""A real broker with SCRAM over TLS and ACLs, and an authority of its own that signs its certificate."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stoploss.embedded.kafka import EmbeddedKafka, broker_properties
from stoploss.embedded.ports import LOOPBACK, free_port
from stoploss.kafka import KafkaAddress, Security, connection

ADMIN = "admin"
WAIT_S = 60.0
A_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs certificates; its own is what clients trust."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def new(cls) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority made by a test")])
        made = _begun(name, name, key.public_key()).add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        return cls(key, made.sign(key, hashes.SHA256()))

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def identity(self) -> bytes:
        """A key and a certificate of loopback, and the authority's, in one PEM as the broker wants it."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, LOOPBACK)])
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))])
        made = _begun(name, self.certificate.subject, key.public_key()).add_extension(address, False)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return pem + made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) + self.pem


def _begun(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - A_DAY)
        .not_valid_after(now + A_DAY)
    )


class SecureKafka(EmbeddedKafka):
    """As the embedded one, but nobody gets in without a password over TLS, nor does what no ACL allows."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, heap_mb=384)
        authority = Authority.new()
        directory.mkdir(parents=True, exist_ok=True)
        self.ca_file, self._identity = directory / "ca.pem", directory / "broker.pem"
        self.ca_file.write_bytes(authority.pem)
        self._identity.write_bytes(authority.identity())
        self._password = secrets.token_hex(16)

    @property
    def bootstrap(self) -> KafkaAddress:
        """As the administrator reaches it."""
        return self.address(ADMIN, self._password)

    @property
    def admin_settings(self) -> dict[str, object]:
        return self.settings(ADMIN, self._password)

    def address(self, user: str, password: str) -> KafkaAddress:
        return KafkaAddress(f"{LOOPBACK}:{self.port}", Security("SASL_SSL", self.ca_file, user, password))

    def settings(self, user: str, password: str) -> dict[str, object]:
        """What a process of this user is given, beside the address."""
        security = {"kafka_protocol": "SASL_SSL", "kafka_ca_file": self.ca_file}
        return {**security, "kafka_user": user, "kafka_password": password}

    def add_user(self, user: str, password: str) -> None:
        admin = AdminClient(connection(self.bootstrap))
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4_096)
        wanted = UserScramCredentialUpsertion(user, info, password.encode())
        for future in admin.alter_user_scram_credentials([wanted]).values():
            future.result(WAIT_S)

    def _configuration(self) -> str:
        properties = broker_properties(data=self._data, port=self.port, controller_port=free_port())
        controllers = properties["listeners"].partition(",")[2]
        login = f'username="{ADMIN}" password="{self._password}"'
        scram, plain = (f"org.apache.kafka.common.security.{name} required {login}" for name in (SCRAM, PLAIN))
        properties |= {
            "listeners": f"SASL_SSL://{LOOPBACK}:{self.port},{controllers}",
            "advertised.listeners": f"SASL_SSL://{LOOPBACK}:{self.port}",
            "listener.security.protocol.map": "CONTROLLER:SASL_PLAINTEXT,SASL_SSL:SASL_SSL",
            "inter.broker.listener.name": "SASL_SSL",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
            "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
            "sasl.mechanism.controller.protocol": "PLAIN",
            "listener.name.sasl_ssl.sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": f"{scram};",
            "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.controller.plain.sasl.jaas.config": f'{plain} user_{ADMIN}="{self._password}";',
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._identity),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.ca_file),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "false",
            "super.users": f"User:{ADMIN}",
        }
        return "".join(f"{name}={value}\n" for name, value in properties.items())

    def _format(self, tool: list[str], configuration: Path, lock_descriptor: int) -> None:
        """The administrator is made before the first start: nobody could get in to make him."""
        user = f"SCRAM-SHA-512=[name={ADMIN},password={self._password}]"
        super()._format([*tool, "--add-scram", user], configuration, lock_descriptor)


SCRAM, PLAIN = "scram.ScramLoginModule", "plain.PlainLoginModule"
