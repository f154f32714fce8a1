"""A vendor on loopback: a real HTTP server that takes what its published description allows, and keeps it."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came in; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content)


@dataclass(frozen=True, slots=True)
class Said:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""


Judging = Callable[[Asked], Said]


@dataclass
class Vendor:
    """`answers` come first, in their order; then `judge` decides."""

    judge: Judging = lambda _: Said(200)
    url: str = ""
    answers: list[Said] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def take(self, asked: Asked) -> Said:
        self.asked.append(asked)
        return self.answers.pop(0) if self.answers else self.judge(asked)


@contextmanager
def serving(vendor: Vendor, identity: Path | None = None) -> Iterator[Vendor]:
    """identity: key and certificate in one PEM file; None: plain HTTP."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            said = vendor.take(Asked(self.command, self.path, headers, content))
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(said.text.encode())))
            self.end_headers()
            self.wfile.write(said.text.encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Keeps the test's output for the test."""

    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.answer)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        vendor.url = f"http{'s' if identity else ''}://127.0.0.1:{server.server_port}"
        if identity is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(identity)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield vendor
        finally:
            server.shutdown()
            thread.join()
