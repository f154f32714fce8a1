"""What an orchestrator asks a process: does it live, is it ready, and its figures for Prometheus."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from stoploss.errors import ConfigurationError

SILENT_S = 10.0
"""Who connects and asks nothing for so long is let go: each connection has a thread of the process."""
Faults = Callable[[], list[str]]
"""Sentences about what is wrong; none where all is well."""


def serve(live: Faults, ready: Faults, host: str, port: int) -> ThreadingHTTPServer:
    """Answers from a thread of its own, so that a blocked loop shows; raises as `listen` does."""
    server = listen(live, ready, host, port)
    threading.Thread(target=server.serve_forever, name="stoploss-health", daemon=True).start()
    return server


def listen(live: Faults, ready: Faults, host: str, port: int) -> ThreadingHTTPServer:
    """Raises ConfigurationError where the port is taken or the host is not this machine's."""
    handler = type("Handler", (Handler,), {"probes": {"/livez": live, "/readyz": ready}})
    try:
        server = ThreadingHTTPServer((host, port), handler)
    except OSError as error:
        raise ConfigurationError(f"STOPLOSS_HEALTH_PORT: cannot listen on {host}:{port} ({error.strerror})") from error
    server.daemon_threads = True
    return server


class Handler(BaseHTTPRequestHandler):
    """/livez, /readyz and /metrics, to be read alone."""

    probes: ClassVar[Mapping[str, Faults]]
    # Without the version of Python: it is nobody's business.
    server_version, sys_version, timeout = "stoploss", "", SILENT_S

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path in self.probes:
            self._say(self.probes[path]())
        elif path == "/metrics":
            self._answer(HTTPStatus.OK, generate_latest(), CONTENT_TYPE_LATEST)
        else:
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
