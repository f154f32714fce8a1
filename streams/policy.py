"""The organisation's policy in force, from the topic in which the registrar keeps it."""

from __future__ import annotations

from stoploss import ledger
from stoploss.ledger import Request
from stoploss.settings import Settings
from streams.reading import whole


def read_policy(settings: Settings) -> Request | None:
    """The last accepted request for a policy; None before the first. Raises WireError where it cannot be read."""
    found = None
    for message in whole(settings.need_kafka(), settings.topics("policy")):
        fact = ledger.decode(message.value())
        found = fact if isinstance(fact, Request) else found
    return found
