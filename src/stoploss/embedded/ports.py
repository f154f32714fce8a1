"""Ports on loopback."""

from __future__ import annotations

import socket

from stoploss.errors import EmbeddedUnavailable

LOOPBACK = "127.0.0.1"
# By it a starter knows its own server from another one that took the port.
PID_HEADER = "X-Stoploss-Pid"


def free_port() -> int:
    """A port that nobody listens on now. Another process may take it before the caller does."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def require_free(port: int, *, title: str) -> None:
    """Raise EmbeddedUnavailable if somebody listens on `port`; connections in TIME_WAIT do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise EmbeddedUnavailable(
                f"{title} cannot listen on {LOOPBACK}:{port} ({error.strerror}): end the program that uses the port, "
                "or give another one, or none to have a free one chosen"
            ) from error
