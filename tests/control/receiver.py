"""A real HTTP server on loopback that keeps what is posted to it and answers as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WAIT_S = 30.0


@dataclass
class Receiver:
    """Bodies and headers in the order they came; `answers` are status codes for the next posts, then 200."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def take(self, body: bytes, headers: dict[str, str]) -> int:
        with self.arrived:
            self.bodies.append(json.loads(body))
            self.headers.append(headers)
            self.arrived.notify_all()
            return self.answers.pop(0) if self.answers else 200

    def wait_for(self, wanted: Callable[[Any], bool]) -> Any:
        """The first body of which this holds."""
        with self.arrived:
            seen = self.arrived.wait_for(lambda: any(map(wanted, self.bodies)), WAIT_S)
            assert seen, f"not among {self.bodies}"
            return next(filter(wanted, self.bodies))


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = receiver.take(body, dict(self.headers.items()))
            text = b"said no" if status >= 400 else b""
            self.send_response(status)
            if status in (301, 302, 307):
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            """Keeps the test's output for the test."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
