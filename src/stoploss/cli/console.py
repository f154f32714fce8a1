"""console: the pages on a port of this machine, and the links that sign people in."""

from __future__ import annotations

import getpass
import importlib.util
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from stoploss.cli import addresses
from stoploss.errors import ConfigurationError
from stoploss.settings import Settings, load

ADDRESS = "console.address"
TRIES = 20
"""Ports from the one that is set: another console of this machine may have it."""
ENDING_S = 2
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def is_installed() -> bool:
    """Whether the extra is there: the pages need more than the monitor does."""
    return all(importlib.util.find_spec(name) for name in ("starlette", "uvicorn", "jinja2", "plotly"))


def serve(host: str | None, port: int | None) -> None:
    """Runs until SIGTERM or Ctrl-C. Raises ConfigurationError where no port is free, or the extra is not installed."""
    from stoploss.cli.stack import end_with_parent

    if not is_installed():
        raise ConfigurationError("the console is not installed; install it with: pip install 'stoploss[console]'")
    end_with_parent()
    settings = addresses.resolved()
    listening = listen(host or settings.console_host, settings.console_port if port is None else port)
    address = public_address(settings.console_url, address_of(listening))
    with listening, _written(settings.home, address):
        _tell(settings, address)
        _run(settings, listening)


def _run(settings: Settings, listening: socket.socket) -> None:
    import uvicorn

    from stoploss import logs
    from stoploss.console.app import build
    from stoploss.console.parts import Console

    logs.to_stderr(settings.log_level)
    console = Console.of(settings)
    only_loopback = listening.getsockname()[0] in LOOPBACK

    class Server(uvicorn.Server):
        """Streams to pages that are open would keep it from ending: they end first."""

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            console.listeners.closing.set()
            super().handle_exit(sig, frame)

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            """A signal is the ordinary end: uvicorn would raise it once more."""
            for name in (signal.SIGINT, signal.SIGTERM):
                signal.signal(name, self.handle_exit)
            yield

    config = uvicorn.Config(
        build(console, only_loopback=only_loopback),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=ENDING_S,
    )
    Server(config).run(sockets=[listening])


def listen(host: str, port: int) -> socket.socket:
    """A socket on the port, or on one of the next where it is taken; 0: any. Raises ConfigurationError."""
    fault: OSError | None = None
    for candidate in range(port, min(port + TRIES, 65_536)) if port else (0,):
        try:
            return socket.create_server((host, candidate), family=_family(host))
        except OSError as error:
            fault = error
    raise ConfigurationError(
        f"the console cannot listen on {host}, port {port} or one of the next "
        f"({fault.strerror if fault else 'none'}); name a free one with --port"
    )


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def address_of(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def public_address(console_url: str, address: str) -> str:
    """Where people find the console: what is set, or else where it listens, seen from this machine.

    >>> public_address("https://stoploss.example/", "http://[::]:8765"), public_address("", "http://[::]:8765")
    ('https://stoploss.example', 'http://[::1]:8765')
    """
    if console_url:
        return console_url.rstrip("/")
    listening = urlsplit(address)
    ip = ipaddress.ip_address(listening.hostname or LOOPBACK[0])
    if not ip.is_unspecified:
        return address
    return f"http://{'[::1]' if ip.version == 6 else LOOPBACK[0]}:{listening.port}"  # as this machine reaches it


@contextmanager
def _written(home: Path, address: str) -> Iterator[None]:
    """`--link-for` finds the address as long as it lasts."""
    path = home / ADDRESS
    home.mkdir(parents=True, exist_ok=True)
    path.write_text(address)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _tell(settings: Settings, address: str) -> None:
    """The link is as good as a password, so it is for a screen: `up` says it on its own, and a container's is a log."""
    if not sys.stdout.isatty():
        print(f"console: {address}", flush=True)
        if os.environ.get("STOPLOSS_OWNED") != "1":
            print("a link that signs you in: stoploss console --link-for NAME", flush=True)
        return
    print(f"console: {link(settings.home, address, getpass.getuser())}", flush=True)
    print("the link signs you in; end with Ctrl-C", flush=True)


def link(home: Path, address: str, person: str) -> str:
    """Where a person signs in. Raises ConfigurationError where the name is none."""
    from stoploss.console.sessions import Sessions

    return Sessions.of_home(home).link(address, person)


def print_link(person: str) -> None:
    """For somebody else. Raises ConfigurationError where no console of this home runs."""
    home = load().home
    try:
        address = (home / ADDRESS).read_text()
    except FileNotFoundError:
        raise ConfigurationError(
            f"no console of {home} runs; start it with `stoploss console` or `stoploss up`"
        ) from None
    print(link(home, address, person))
