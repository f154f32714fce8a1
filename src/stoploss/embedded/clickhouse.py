"""The ClickHouse engine as a server on loopback."""

from __future__ import annotations

import http.client
import sys
from pathlib import Path
from typing import ClassVar

from stoploss.embedded.ports import LOOPBACK, PID_HEADER
from stoploss.embedded.service import EmbeddedService, require_modules
from stoploss.errors import EmbeddedUnavailable

FRONT_MODULE = "stoploss.embedded.clickhouse_http"
PING_TIMEOUT_S = 1.0


class EmbeddedClickHouse(EmbeddedService):
    """chDB behind ClickHouse's HTTP interface; `clickhouse_connect.get_client(host, port)` works unchanged.

    Every insert that was answered survives a restart and a kill of the process; a power cut is another matter,
    as on ClickHouse itself without fsync.
    """

    title: ClassVar[str] = "embedded ClickHouse"
    log_name: ClassVar[str] = "clickhouse.log"

    def __init__(self, directory: Path, port: int | None = None) -> None:
        super().__init__(directory, port)
        if "?" in str(self.directory):
            raise EmbeddedUnavailable(
                f"{self.title} cannot use {self.directory}: chDB takes what follows the '?' for options; "
                "give a directory without one"
            )

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def _require_installed(self) -> None:
        require_modules(self.title, "chdb", "aiohttp")

    def _prepare(self, lock_descriptor: int) -> list[str]:
        return [sys.executable, "-P", "-m", FRONT_MODULE, str(self.directory), str(self.port)]

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=PING_TIMEOUT_S)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().getheader(PID_HEADER) == str(self.pid)
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
