"""What holds for all experiments, from the topic in which the registrar keeps it: policy, and stop of the line."""

from __future__ import annotations

from stoploss import ledger
from stoploss.ledger import Request
from stoploss.lifecycle import FREEZE, OF_ALL, POLICY
from stoploss.policy.file import policy_in_force
from stoploss.policy.model import Policy
from stoploss.settings import Settings
from streams.reading import whole


def kept_as(action: str) -> bytes:
    """The key of a request: a lift takes the place of the stop."""
    return (POLICY if action == POLICY else FREEZE).encode()


def read_policy(settings: Settings) -> Request | None:
    """The last accepted request for a policy; None before the first. Raises WireError where it cannot be read."""
    return _kept(settings).get(kept_as(POLICY))


def policy_of(request: Request | None) -> Policy | None:
    """What an accepted request put in force."""
    return None if request is None else policy_in_force(request.spec or "")


def read_freeze(settings: Settings) -> Request | None:
    """The request that has stopped the line; None where it is not stopped. Raises WireError where it cannot be read."""
    found = _kept(settings).get(kept_as(FREEZE))
    return found if found is not None and found.action == FREEZE else None


def _kept(settings: Settings) -> dict[bytes, Request]:
    """The last request of each key."""
    found = {}
    for message in whole(settings.need_kafka(), settings.topics("policy")):
        fact = ledger.decode(message.value())
        if isinstance(fact, Request) and fact.action in OF_ALL:
            found[kept_as(fact.action)] = fact
    return found
