"""What a ledger partition's judges have published last of each experiment, read once, as a judge starts."""

from __future__ import annotations

import structlog

from stoploss import registry
from stoploss.errors import WireError
from stoploss.registry import RegistryEntry
from stoploss.settings import Settings
from streams.reading import whole

log = structlog.get_logger("stoploss.judge")


def published(settings: Settings, partition: int) -> dict[str, RegistryEntry]:
    """By experiment. What a newer version has written in a way that this one cannot read is left out, and said."""
    found = whole(settings.need_kafka(), settings.topics("registry"), partition)
    newest = {(message.key() or b"").decode(): message.value() for message in found}
    entries = {name: _read(name, value) for name, value in newest.items() if value is not None}
    return {name: entry for name, entry in entries.items() if entry is not None}


def _read(name: str, value: bytes) -> RegistryEntry | None:
    try:
        return registry.decode(value)
    except WireError as why:
        log.error("an entry of the registry cannot be read", experiment=name, fault=str(why))
        return None
