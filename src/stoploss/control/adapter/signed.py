"""Signed requests, as Standard Webhooks has them, and the receiver's side of it.

Source: Standard Webhooks 1.0 (standardwebhooks.com), "Signature scheme", symmetric.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

from stoploss.errors import CommandRefused, ConfigurationError

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
PREFIX = "whsec_"
TOLERANCE_S = 300


def signature_headers(request_id: str, body: bytes, secret: str, at_s: int) -> dict[str, str]:
    """The three headers of one attempt: the id is that of all attempts, the timestamp is its own."""
    return {ID: request_id, TIMESTAMP: str(at_s), SIGNATURE: f"v1,{_signature(request_id, body, secret, str(at_s))}"}


def verify(headers: Mapping[str, str], body: bytes, secret: str, now_s: float, tolerance_s: float = TOLERANCE_S) -> str:
    """The id of a request that was signed with the secret and is not old; raises CommandRefused elsewhere.

    The same id may come again: whoever has acted on it answers 200 and does nothing.
    """
    given = {name.lower(): value for name, value in headers.items()}
    request_id, stamp = given.get(ID, ""), given.get(TIMESTAMP, "")
    if not stamp.isdecimal() or abs(now_s - int(stamp)) > tolerance_s:
        raise CommandRefused(
            f"its timestamp {stamp!r} is not within {tolerance_s:.0f} s of now: it is old, or a clock is"
        )
    expected = f"v1,{_signature(request_id, body, secret, stamp)}".encode()
    # Several signatures stand side by side while a secret is being changed.
    if not any(hmac.compare_digest(expected, one.encode()) for one in given.get(SIGNATURE, "").split(" ")):
        raise CommandRefused("its signature is not of this secret: it was changed on its way, or it is forged")
    return request_id


def _signature(request_id: str, body: bytes, secret: str, stamp: str) -> str:
    signed = f"{request_id}.{stamp}.".encode() + body
    return base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest()).decode()


def _key(secret: str) -> bytes:
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ConfigurationError(f"the signing secret begins with {PREFIX}, but no base64 follows it") from None
