"""The flag file over HTTP, for flagd and others that poll: `GET /flags.json` with an ETag, so no news is a 304."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import structlog

from stoploss.errors import ConfigurationError

log = structlog.get_logger(__name__)

PATH = "/flags.json"
SHUTDOWN_S = 0.05
PATIENCE_S = 10.0


def etag_of(content: bytes) -> str:
    """A strong validator: equal content, equal tag, over restarts and among instances.

    >>> etag_of(b"{}")
    '"44136fa355b3678a"'
    """
    return f'"{hashlib.sha256(content).hexdigest()[:16]}"'


def answer(path: str, if_none_match: str | None, file: Path) -> tuple[HTTPStatus, bytes, str | None]:
    """Status, content and ETag; the file is replaced whole, so half of one is never read."""
    if path.partition("?")[0] != PATH:
        return HTTPStatus.NOT_FOUND, f"there is {PATH} alone".encode(), None
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return HTTPStatus.SERVICE_UNAVAILABLE, b"no command was obeyed yet, so there are no flags", None
    except OSError as error:
        log.warning("flag_file_unreadable", file=str(file), reason=str(error))
        return HTTPStatus.SERVICE_UNAVAILABLE, b"the flag file cannot be read", None
    tag = etag_of(content)
    return (HTTPStatus.NOT_MODIFIED, b"", tag) if _is_known(tag, if_none_match) else (HTTPStatus.OK, content, tag)


def _is_known(tag: str, if_none_match: str | None) -> bool:
    """Weak comparison, as RFC 9110 section 13.1.2 has it for GET."""
    known = [one.strip().removeprefix("W/") for one in (if_none_match or "").split(",")]
    return tag in known or "*" in known


@contextmanager
def serving_flags(file: Path, host: str, port: int) -> Iterator[int]:
    """Serves in threads of its own until the block ends; gives the port, which 0 leaves to the system.

    Raises ConfigurationError where nobody may listen there.
    """
    try:
        server = ThreadingHTTPServer((host, port), _handler(file))
    except (OSError, OverflowError) as error:
        raise ConfigurationError(f"flags cannot be served on {host}:{port}: {error}; give another --serve") from None
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(SHUTDOWN_S,), name="stoploss-flags", daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def _handler(file: Path) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version, timeout = "stoploss", "", PATIENCE_S

        def do_GET(self) -> None:
            self._answer(with_content=True)

        def do_HEAD(self) -> None:
            self._answer(with_content=False)

        def _answer(self, *, with_content: bool) -> None:
            status, content, tag = answer(self.path, self.headers.get("If-None-Match"), file)
            self.send_response(status)
            if tag is not None:
                self.send_header("ETag", tag)
                self.send_header("Cache-Control", "no-cache")
            if status is not HTTPStatus.NOT_MODIFIED:
                self.send_header("Content-Type", "application/json" if tag is not None else "text/plain")
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if with_content:
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """A poll each few seconds from everybody is no news."""

    return Handler
