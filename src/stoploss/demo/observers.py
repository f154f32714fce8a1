"""What the demo looks with: a reader of the control topic, and a receiver of alerts as on-call has one."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from stoploss.commands import Command
from stoploss.control.messages import read_command
from stoploss.settings import Settings
from stoploss.signing import Verifier
from streams.reading import ends, reader


@dataclass(frozen=True, slots=True)
class SeenCommand:
    """A command, its signature verified, and when it was in this reader's hands (wall clock, seconds)."""

    command: Command
    seen_at_s: float


class ControlWatch:
    """Reads the control topic from now on."""

    def __init__(self, settings: Settings) -> None:
        self.seen: list[SeenCommand] = []
        self._topic = settings.topics("control")
        self._verifier = Verifier.load(settings.keys / "monitor.pub")
        self._consumer = reader(settings.need_kafka())
        self._consumer.assign(ends(self._consumer, self._topic))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="control-watch", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._stop.is_set():
            message = self._consumer.poll(0.1)
            if message is not None and message.error() is None:
                at_s = time.time()
                headers: Any = message.headers() or []
                self.seen.append(SeenCommand(read_command(message.value(), headers, self._topic, self._verifier), at_s))

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        self._consumer.close()


class AlertReceiver:
    """A webhook of Alertmanager's shape on loopback, that keeps what it is told."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        received = self.alerts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                received.extend(json.loads(body).get("alerts", []))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet: the alerts are kept, the requests are not told."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, name="alert-receiver", daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/alerts"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
