"""Who asks: the signature over a request's bytes, and what the roles allow its owner.

The registrar alone looks at it; what it found stands in the ledger, so that nobody has to look again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from stoploss.commands import Micros
from stoploss.errors import CommandRefused, ConfigurationError, InvalidExperiment
from stoploss.governance.bodies import ApprovalTerms, RejectionTerms, body_of
from stoploss.governance.roles import Roles, keys_of, parse_roles, refusal
from stoploss.ledger import Request
from stoploss.signing import Verifier, key_id_of

FRESH_S = 300
"""By how much a request's own time and its arrival may differ: somebody else may not send it again later."""

log = structlog.get_logger("stoploss.roles")


@dataclass(frozen=True, slots=True)
class Signed:
    """A request as it came: its exact bytes, the signature's header, and the broker's time."""

    request: Request
    value: bytes
    signature: str | bytes | None
    arrived_at: Micros


class Identity:
    """The roles of people, as they stand in a file."""

    def __init__(self, roles: Roles) -> None:
        keys = keys_of(roles)
        self._roles = roles
        self._names = {key_id_of(key): name for name, key in keys.items()}
        self._verifier = Verifier({key_id_of(key): key for key in keys.values()})

    def checked(self, signed: Signed, teams: frozenset[str]) -> Request:
        """The request with the key that signed it; refused with a sentence where it is not its owner's to ask.

        teams  owners of the experiment, before and after the request
        """
        request = signed.request
        try:
            key_id = self._verifier.verify(signed.value, signed.signature)
        except CommandRefused as error:
            return _refused(request, f"{error}; sign requests with the key of `stoploss keys --person`")
        person = self._names[key_id]
        why = _contradiction(signed, person) or self.refusal(person, request.action, teams, _domain(request))
        found = replace(request, key_id=key_id)
        return _refused(found, why) if why else found

    def refusal(self, person: str, action: str, teams: frozenset[str], domain: str | None = None) -> str | None:
        """Why somebody may not ask for this, by the roles alone; None where he may."""
        return refusal(self._roles, person, action, teams, domain)


def _refused(request: Request, why: str) -> Request:
    return replace(request, accepted=False, opinion=why)


def _contradiction(signed: Signed, person: str) -> str | None:
    request = signed.request
    if request.by != person:
        return f"it is signed by {person}, and says that {request.by} asks"
    apart_s = abs(signed.arrived_at - request.at) / 1_000_000
    if apart_s > FRESH_S:
        return (
            f"it was signed {apart_s:.0f} s away from its arrival, and {FRESH_S} s are allowed; set the clock, "
            "or ask again"
        )
    return None


def _domain(request: Request) -> str | None:
    match request.action:
        case "approve":
            return body_of(ApprovalTerms, request.body).domain
        case "reject":
            return body_of(RejectionTerms, request.body).domain
        case _:
            return None


class RolesFile:
    """The roles of a file, read again when it changes; a broken one does not take the place of the last good one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._stamp()
        self._identity = Identity(parse_roles(self._text(), str(path)))

    def identity(self) -> Identity:
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            try:
                self._identity = Identity(parse_roles(self._text(), str(self._path)))
            except (InvalidExperiment, ConfigurationError) as error:
                log.error("the roles cannot be read; the last ones stay in force", reason=str(error))
        return self._identity

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size

    def _text(self) -> str:
        try:
            return self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"the roles in {self._path} cannot be read: {error}") from error
