"""A TCP proxy on loopback whose wires can be cut, reset, held, or made slow or narrow; between a client and its server.

A thread for each direction of a connection: few connections, and no event loop that a test could block. It is our own,
and not toxiproxy: the tests need no Go and no further server, it reads Kafka's frames so that it can hold back one kind
of reply, and it swallows a reply after the request was done; toxiproxy knows bytes and does neither.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from stoploss.embedded.ports import LOOPBACK

CHUNK = 65_536
POLL_S = 0.05
CONNECT_S = 5.0
NARROW_PIECES_PER_S = 10
RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class Wire(StrEnum):
    """What becomes of bytes.

    OPEN  they pass
    HELD  connections are accepted and nothing passes, in neither direction, until the wire is open again
    CUT   connections are closed, also new ones
    RESET  the same, by a reset: what was sent and not read yet is gone for both sides
    DEAF  requests pass, replies are swallowed and the connection is closed: it was done, and nobody was told
    """

    OPEN = "open"
    HELD = "held"
    CUT = "cut"
    RESET = "reset"
    DEAF = "deaf"


ENDED = (Wire.CUT, Wire.RESET)


@dataclass(slots=True)
class Asked:
    """Kafka requests of one connection that wait for their reply: API key by correlation id."""

    by_id: dict[int, int] = field(default_factory=dict)
    rest: bytearray = field(default_factory=bytearray)

    def hear(self, data: bytes) -> None:
        self.rest += data
        for frame in frames(self.rest):
            self.by_id[int.from_bytes(frame[8:12], "big")] = int.from_bytes(frame[4:6], "big")


def frames(buffer: bytearray) -> Iterator[bytes]:
    """Takes whole frames of Kafka's protocol off the front: four bytes of size, then so many bytes.

    >>> rest = bytearray(b"\\0\\0\\0\\2ab\\0\\0")
    >>> list(frames(rest)), bytes(rest)
    ([b'\\x00\\x00\\x00\\x02ab'], b'\\x00\\x00')
    """
    while len(buffer) >= 4 and len(buffer) >= (end := 4 + int.from_bytes(buffer[:4], "big")):
        yield bytes(buffer[:end])
        del buffer[:end]


class Proxy:
    """Listens on a port of its own and passes everything on to `target`; close it at the end.

    slow    by Kafka API key, seconds for one reply each: so much later it is handed on, and all behind it; to be set
            before the client connects
    slow_until_s  monotonic time at which the last of them was handed on; 0: none yet
    latency_s  seconds that bytes are under way, in each direction
    bytes_per_s  that a connection carries in each direction; 0: as many as come
    passed  requests that reached the server while the wire was DEAF
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.wire = Wire.OPEN
        self.slow: dict[int, list[float]] = {}
        self.slow_until_s = 0.0
        self.latency_s = 0.0
        self.bytes_per_s = 0
        self.passed = 0
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server((LOOPBACK, 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name=f"proxy-{self.port}", daemon=True).start()

    def set(self, wire: Wire) -> None:
        self.wire = wire
        if wire in ENDED:
            self._hang_up()

    def mend(self) -> None:
        """All is open, quick and wide again."""
        self.latency_s, self.bytes_per_s = 0.0, 0
        self.slow.clear()
        self.set(Wire.OPEN)

    def close(self) -> None:
        self.wire = Wire.CUT
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._hang_up()

    def _hang_up(self) -> None:
        with self._lock:
            sockets = list(self._sockets)
        for one in sockets:
            self._end(one)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """One connection, until either side ends it."""
        with contextlib.suppress(OSError), client:
            if self.wire in ENDED:
                self._end(client)
                return
            with socket.create_connection((LOOPBACK, self.target), CONNECT_S) as server:
                server.settimeout(None)
                self._couple(client, server)

    def _couple(self, client: socket.socket, server: socket.socket) -> None:
        asked = Asked()
        with self._lock:
            self._sockets |= {client, server}
        back = threading.Thread(target=self._replies, args=[server, client, asked], daemon=True)
        back.start()
        try:
            for data in self._read(client):
                if self.slow:
                    asked.hear(data)
                self.passed += self.wire is Wire.DEAF
                server.sendall(data)
        except OSError:
            pass  # the other side has gone: so has this connection
        finally:
            self._end(server)
            back.join()
            with self._lock:
                self._sockets -= {client, server}

    def _replies(self, server: socket.socket, client: socket.socket, asked: Asked) -> None:
        held = bytearray()
        with contextlib.suppress(OSError):
            for data in self._read(server):
                if self.wire is Wire.DEAF:
                    break
                if self.slow or held:
                    held += data
                    for frame in frames(held):
                        self._hold_back(self._delay_s(frame, asked))
                        client.sendall(frame)
                else:
                    client.sendall(data)
        self._end(client)

    def _hold_back(self, seconds: float) -> None:
        if seconds:
            time.sleep(seconds)
            self.slow_until_s = time.monotonic()

    def _delay_s(self, reply: bytes, asked: Asked) -> float:
        delays = self.slow.get(asked.by_id.pop(int.from_bytes(reply[4:8], "big"), -1))
        return delays.pop() if delays else 0.0

    def _read(self, source: socket.socket) -> Iterator[bytes]:
        """What comes, while the wire lets it through."""
        while data := source.recv(self._piece()):
            time.sleep(self.latency_s + (len(data) / self.bytes_per_s if self.bytes_per_s else 0.0))
            while self.wire is Wire.HELD:
                time.sleep(POLL_S)
            if self.wire in ENDED:
                return
            yield data

    def _piece(self) -> int:
        """Bytes to be taken at once: on a narrow wire few, so that they trickle."""
        return max(1, min(CHUNK, self.bytes_per_s // NARROW_PIECES_PER_S)) if self.bytes_per_s else CHUNK

    def _end(self, one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self.wire is Wire.RESET:
                # Closing it is what resets it; its reader, who has it open too, only comes back from a shutdown.
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
                one.shutdown(socket.SHUT_RD)
            else:
                one.shutdown(socket.SHUT_RDWR)
