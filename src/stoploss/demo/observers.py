"""What the demo looks with: a reader of commands, acks and journal, and a receiver of alerts as on-call has one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from confluent_kafka import Message

from stoploss import journal
from stoploss.commands import Ack, Command
from stoploss.control.messages import read_command
from stoploss.errors import StoplossError
from stoploss.journal import JournalEntry
from stoploss.settings import Settings
from stoploss.signing import Verifier
from stoploss.wire import records
from streams.reading import ends, reader

POLL_S = 0.1
CLOSE_S = 5.0


@dataclass(frozen=True, slots=True)
class SeenCommand:
    """A command, its signature verified; when it was written and when it was in this reader's hands.

    Both in seconds since 1970; the first is the record's timestamp, in whole milliseconds.
    """

    command: Command
    written_at_s: float
    seen_at_s: float


@dataclass(frozen=True, slots=True)
class SeenAck:
    """A controller's answer, and when it was here."""

    ack: Ack
    seen_at_s: float


Told = SeenCommand | SeenAck | JournalEntry


class Watch:
    """Reads what comes on the topics of commands, acks and journal from now on, and hands each on as it comes."""

    def __init__(self, settings: Settings, hear: Callable[[Told], None]) -> None:
        self.commands: list[SeenCommand] = []
        self.acks: list[SeenAck] = []
        self.journal: list[JournalEntry] = []
        self._hear = hear
        self._verifier = Verifier.load(settings.keys / "monitor.pub", break_glass=settings.keys / "break-glass.pub")
        self._control, self._acks = settings.topics("control"), settings.topics("acks")
        self._consumer = reader(settings.need_kafka())
        topics = (self._control, self._acks, settings.topics("journal"))
        self._consumer.assign([end for topic in topics for end in ends(self._consumer, topic)])
        self._stop = threading.Event()
        self._failure: StoplossError | None = None
        self._thread = threading.Thread(target=self._read, name="watch", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while not self._stop.is_set():
                message = self._consumer.poll(POLL_S)
                if message is not None and message.error() is None:
                    self._hear(self._kept(message, time.time()))
        except StoplossError as error:
            self._failure = error

    def _kept(self, message: Message, at_s: float) -> Told:
        if message.topic() == self._control:
            headers: Any = message.headers() or []
            command = read_command(message.value(), headers, self._control, self._verifier)
            seen = SeenCommand(command, message.timestamp()[1] / 1e3, at_s)
            self.commands.append(seen)
            return seen
        if message.topic() == self._acks:
            ack = SeenAck(records.decode(message.value(), {"ack": Ack}), at_s)
            self.acks.append(ack)
            return ack
        entry = journal.decode(message.value())
        self.journal.append(entry)
        return entry

    def check(self) -> None:
        """Raises what ended the reading, such as a command that nobody signed."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        self._stop.set()
        self._thread.join(CLOSE_S)
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

    @property
    def names(self) -> list[str]:
        """What fired, each once: the alert's name and the experiment's."""
        firing = (alert["labels"] for alert in self.alerts if alert["status"] == "firing")
        return sorted({f"{labels['alertname']} {labels['experiment']}" for labels in firing})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
