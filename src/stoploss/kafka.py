"""Where Kafka is and how to get in: one address, from which every client of the project is made.

The address is its own text, without any secret, so it may stand in sentences and logs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

Protocol = Literal["PLAINTEXT", "SSL", "SASL_SSL"]
Mechanism = Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]


@dataclass(frozen=True, slots=True)
class Security:
    """How a client proves who it is, and whom it believes. Passwords travel over TLS alone.

    ca_file  certificates of whoever signed the brokers', PEM; None: those of the system
    """

    protocol: Protocol = "PLAINTEXT"
    ca_file: Path | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    mechanism: Mechanism = "SCRAM-SHA-512"

    def client(self) -> dict[str, str]:
        """As librdkafka's settings."""
        if self.protocol == "PLAINTEXT":
            return {}
        found = {"security.protocol": str(self.protocol)}
        if self.ca_file is not None:
            found["ssl.ca.location"] = str(self.ca_file)
        if self.protocol == "SASL_SSL":
            found |= {
                "sasl.mechanism": self.mechanism,
                "sasl.username": self.user,
                "sasl.password": self.password,
            }
        return found


OPEN = Security()

IN_ORDER: Mapping[str, Any] = {"enable.idempotence": True, "max.in.flight.requests.per.connection": 1}
"""Of a producer whose records are neither lost nor stored twice. A broker that knows nothing of a producer takes any
number first: of two requests under way the second may be taken before the first, which was refused for a moment and
counts as its repeat when it comes again. It is stored nowhere then, and reported as delivered, at no place (seen, with
topics that were just made, in one of 400)."""


class KafkaAddress(str):
    """`host:port,host:port`, with the security that its clients need."""

    security: Security

    def __new__(cls, servers: str, security: Security = OPEN) -> Self:
        address = super().__new__(cls, servers)
        address.security = security
        return address


def connection(servers: str) -> dict[str, Any]:
    """What every librdkafka client of this address begins with; a plain text is an address without security.

    >>> connection("broker:9092")
    {'bootstrap.servers': 'broker:9092'}
    """
    return {"bootstrap.servers": str(servers), **security_of(servers).client()}


def security_of(servers: str) -> Security:
    return servers.security if isinstance(servers, KafkaAddress) else OPEN
