"""Who is signed in: links and cookies under one secret of the home. Nothing is kept, so a restart signs nobody out.

A link names a person, and its token is a MAC of that name and of the time at which it was made: whoever holds the
secret says who somebody is, and nobody can be somebody else. A cookie is the same, with a nonce; what a form carries is
a MAC of that nonce.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from stoploss.errors import ConfigurationError

FILE = "console.secret"
SECRET_BYTES = 32
SESSION_S = 12 * 3_600
LINK_S = 24 * 3_600
"""A link stands in histories of browsers and shells, and in messages."""
PERSON = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")


@dataclass(frozen=True, slots=True)
class Session:
    """A person who is signed in; csrf is what each of the session's forms has to carry."""

    person: str
    csrf: str


@dataclass(frozen=True, slots=True)
class Sessions:
    """Makes and checks what shows who somebody is."""

    secret: bytes

    @classmethod
    def of_home(cls, home: Path) -> Sessions:
        """With the home's secret, made where there is none. Raises ConfigurationError where it is no secret."""
        path = home / FILE
        if not path.exists():
            _create(path)
        secret = path.read_bytes()
        if len(secret) != SECRET_BYTES:
            raise ConfigurationError(
                f"{path} holds no secret of {SECRET_BYTES} bytes; remove it, and a new one is made"
            )
        return cls(secret)

    @property
    def cookie(self) -> str:
        """Name of the cookie: consoles of two homes on one host do not sign each other's people out."""
        return f"stoploss_{hashlib.sha256(self.secret).hexdigest()[:8]}"

    def link(self, address: str, person: str) -> str:
        """Where a person signs in with one click. Raises ConfigurationError where the name is none."""
        return f"{address}/signin?{urlencode({'person': person, 'token': self.token(person)})}"

    def token(self, person: str) -> str:
        """Holds for a day. Raises ConfigurationError where the name is none."""
        if not PERSON.fullmatch(person):
            raise ConfigurationError(
                f"{person!r} is no name of a person; use letters, digits and . _ @ + -, at most 64"
            )
        made_s = str(int(time.time()))
        return f"{made_s}.{self._mac('link', f'{person}|{made_s}')}"

    def knows(self, person: str, token: str) -> bool:
        made_s, _, mac = token.partition(".")
        if PERSON.fullmatch(person) is None or not _same(mac, self._mac("link", f"{person}|{made_s}")):
            return False
        return 0 <= time.time() - int(made_s) <= LINK_S

    def begin(self, person: str) -> str:
        """The cookie's value."""
        content = f"{person}|{int(time.time())}|{secrets.token_urlsafe(16)}"
        return f"{base64.urlsafe_b64encode(content.encode()).decode()}.{self._mac('session', content)}"

    def session(self, value: str) -> Session | None:
        """None where the cookie is forged, damaged or too old."""
        content = self._content(value)
        if content is None:
            return None
        person, began_s, _ = content.split("|")
        if not 0 <= time.time() - int(began_s) <= SESSION_S:
            return None
        return Session(person, self._mac("csrf", content))

    def _content(self, value: str) -> str | None:
        """What a cookie of ours says; its MAC is compared before anything is read."""
        encoded, _, mac = value.partition(".")
        try:
            content = base64.urlsafe_b64decode(encoded.encode()).decode()
        except (ValueError, UnicodeDecodeError):
            return None
        return content if _same(mac, self._mac("session", content)) else None

    def _mac(self, purpose: str, content: str) -> str:
        digest = hmac.digest(self.secret, f"{purpose}|{content}".encode(), "sha256")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def agrees(session: Session, given: str) -> bool:
    """Whether a form was made for this session."""
    return _same(given, session.csrf)


def _same(given: str, wanted: str) -> bool:
    """In a time that does not depend on where they differ."""
    return hmac.compare_digest(given.encode(), wanted.encode())


def _create(path: Path) -> None:
    """Whole or not at all, and never over another's: two consoles may begin at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{FILE}.{os.getpid()}")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(secrets.token_bytes(SECRET_BYTES))
        os.link(partial, path)
    except FileExistsError:
        return
    finally:
        partial.unlink(missing_ok=True)
