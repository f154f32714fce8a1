"""A lease as a Kafka message: Avro value, and the signature over it. Verified first, then parsed."""

from __future__ import annotations

from collections.abc import Sequence

from stoploss import leases
from stoploss.errors import CommandRefused
from stoploss.leases import Lease
from stoploss.signing import SIGNATURE_HEADER, Signer, Verifier

Headers = Sequence[tuple[str, bytes | None]]


def headers_of(value: bytes, signer: Signer) -> Headers:
    """What stands beside the value of a lease."""
    return [(SIGNATURE_HEADER, signer.sign(value).encode())]


def read_lease(value: bytes | None, headers: Headers | None, verifier: Verifier) -> Lease:
    """Raises CommandRefused where no trusted key signed exactly this, WireError where what it signed is no lease."""
    found = [text for name, text in headers or () if name == SIGNATURE_HEADER]
    if len(found) > 1:
        raise CommandRefused(f"{len(found)} headers {SIGNATURE_HEADER}; a lease carries exactly one")
    verifier.verify(value or b"", found[0] if found else None)
    return leases.decode(value)
