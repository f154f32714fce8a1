"""What a worker answers its orchestrator: whether the loop of each of its roles comes round, and what it waits for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from http.server import ThreadingHTTPServer
from typing import Protocol

from faust.types import TP

from stoploss import probes
from streams.app import App
from streams.batches import Unread
from streams.measuring import Lags, Sights
from streams.transport import consumer_if_any

BLOCKED_S = 10.0
"""A loop that has not come round for so long answers nobody. The watchdog ends the process later by itself."""


def serve(apps: Mapping[str, App], host: str, port: int) -> ThreadingHTTPServer:
    """Answers /livez, /readyz and /metrics; raises ConfigurationError where it cannot listen."""
    server = probes.serve(partial(_faults, apps, blocked), partial(_faults, apps, not_ready), host, port)
    Lags({role: partial(_lags, app) for role, app in apps.items()}).register()
    for app in apps.values():
        if app.sights is not None:
            Sights(app.sights).register()
    return server


class Reading(Protocol):
    """What the probes ask of a consumer."""

    def stalled_s(self) -> float: ...

    def unready(self) -> str | None: ...


def _faults(apps: Mapping[str, App], fault_of: Callable[[Reading | None], str | None]) -> list[str]:
    found = ((role, fault_of(consumer_if_any(app))) for role, app in apps.items())
    return [f"{role}: {fault}" for role, fault in found if fault]


def blocked(consumer: Reading | None) -> str | None:
    stalled_s = consumer.stalled_s() if consumer else 0.0
    return f"the event loop has not come round for {stalled_s:.0f} s" if stalled_s > BLOCKED_S else None


def not_ready(consumer: Reading | None) -> str | None:
    return "it is starting" if consumer is None else blocked(consumer) or consumer.unready()


def _lags(app: App) -> Mapping[TP, Unread]:
    consumer = consumer_if_any(app)
    return consumer.unread() if consumer else {}
