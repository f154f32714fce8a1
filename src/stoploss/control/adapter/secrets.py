"""Secrets of an adapter: read when they are needed, shown nowhere."""

from __future__ import annotations

import os
from collections.abc import Mapping

from stoploss.control.adapter.spec import Secret
from stoploss.errors import ConfigurationError

SHORTEST_HIDDEN = 4
"""A shorter text would blank out half of every answer, and is no secret."""


def read_secrets(secrets: Mapping[str, Secret]) -> dict[str, str]:
    """The value of each; raises ConfigurationError where one is not there or empty."""
    return {name: _read(name, secret) for name, secret in secrets.items()}


def placeholders(secrets: Mapping[str, Secret]) -> dict[str, str]:
    """What stands in their place where requests are only shown."""
    return {name: f"<{name}>" for name in secrets}


def hidden(text: str, secrets: Mapping[str, str]) -> str:
    """A text without the secrets: a vendor's answer may repeat what it was sent.

    >>> hidden("no such token: s3cr3t", {"token": "s3cr3t"})
    'no such token: <token>'
    """
    for name, value in secrets.items():
        if len(value) >= SHORTEST_HIDDEN:
            text = text.replace(value, f"<{name}>")
    return text


def _read(name: str, secret: Secret) -> str:
    if secret.env is not None:
        where, value = f"the environment variable {secret.env}", os.environ.get(secret.env, "")
    else:
        where, value = f"the file {secret.file}", _content(name, secret)
    if not value.strip():
        raise ConfigurationError(f"the secret {name!r} is not in {where}; put it there, alone")
    return value.strip()


def _content(name: str, secret: Secret) -> str:
    assert secret.file is not None
    try:
        return secret.file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise ConfigurationError(f"the secret {name!r} cannot be read from {secret.file}: {why}") from None
