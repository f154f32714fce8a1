"""What an orchestrator asks a worker: does it live, is it ready, and its figures for Prometheus."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, Protocol

from faust.types import TP
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from stoploss.errors import ConfigurationError
from streams.app import App
from streams.measuring import Lags, Sights
from streams.transport import consumer_if_any

BLOCKED_S = 10.0
"""A loop that has not come round for so long answers nobody. The watchdog ends the process later by itself."""
SILENT_S = 10.0
"""Who connects and asks nothing for so long is let go: each connection has a thread of the worker."""


def serve(apps: Mapping[str, App], host: str, port: int) -> ThreadingHTTPServer:
    """Answers /livez, /readyz and /metrics from a thread of its own, so that a blocked event loop shows."""
    server = listen(apps, host, port)
    Lags({role: partial(_lags, app) for role, app in apps.items()}).register()
    for app in apps.values():
        if app.sights is not None:
            Sights(app.sights).register()
    threading.Thread(target=server.serve_forever, name="stoploss-health", daemon=True).start()
    return server


def listen(apps: Mapping[str, App], host: str, port: int) -> ThreadingHTTPServer:
    """Raises ConfigurationError where the port is taken or the host is not this machine's."""
    handler = type("Handler", (_Handler,), {"apps": apps})
    try:
        server = ThreadingHTTPServer((host, port), handler)
    except OSError as error:
        raise ConfigurationError(f"STOPLOSS_HEALTH_PORT: cannot listen on {host}:{port} ({error.strerror})") from error
    server.daemon_threads = True
    return server


class Reading(Protocol):
    """What the probes ask of a consumer."""

    def stalled_s(self) -> float: ...

    def unready(self) -> str | None: ...


class _Handler(BaseHTTPRequestHandler):
    apps: ClassVar[Mapping[str, App]]
    # Without the version of Python: it is nobody's business.
    server_version, sys_version, timeout = "stoploss", "", SILENT_S

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/livez":
                self._say(_faults(self.apps, blocked))
            case "/readyz":
                self._say(_faults(self.apps, not_ready))
            case "/metrics":
                self._answer(HTTPStatus.OK, generate_latest(), CONTENT_TYPE_LATEST)
            case path:
                text = f"{path}: not here; there are /livez, /readyz and /metrics\n"
                self._answer(HTTPStatus.NOT_FOUND, text.encode())

    def _say(self, faults: list[str]) -> None:
        if faults:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "".join(f"{fault}\n" for fault in faults).encode())
        else:
            self._answer(HTTPStatus.OK, b"ok\n")

    def _answer(self, status: HTTPStatus, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a probe each second is no news."""


def _faults(apps: Mapping[str, App], fault_of: Callable[[Reading | None], str | None]) -> list[str]:
    found = ((role, fault_of(consumer_if_any(app))) for role, app in apps.items())
    return [f"{role}: {fault}" for role, fault in found if fault]


def blocked(consumer: Reading | None) -> str | None:
    stalled_s = consumer.stalled_s() if consumer else 0.0
    return f"the event loop has not come round for {stalled_s:.0f} s" if stalled_s > BLOCKED_S else None


def not_ready(consumer: Reading | None) -> str | None:
    return "it is starting" if consumer is None else blocked(consumer) or consumer.unready()


def _lags(app: App) -> Mapping[TP, int]:
    consumer = consumer_if_any(app)
    return consumer.lags() if consumer else {}
