"""ClickHouse's HTTP interface over chDB, on loopback.

    python -m stoploss.embedded.clickhouse_http DIRECTORY PORT

What it takes, as ClickHouse's own server does: the statement in `query=`, in the body, or begun in one and ended
in the other; rows after `INSERT … FORMAT X`; `param_x=` for `{x:Type}`, in the address or as a form; any setting;
`database=` and `default_format=` or the X-ClickHouse-Database and X-ClickHouse-Format headers; compression both
ways; GET as read-only; errors with ClickHouse's code, text and HTTP status.

What differs, because this is an engine for one machine: it listens on 127.0.0.1 only and accepts every user and
password; a request that a web page sends from a browser is refused; `session_id` is ignored, so temporary tables
and SET end with their request; tables sent along with a query, roles, and ClickHouse's own block compression
(`compress=1`) are refused; a result is complete in memory before its first byte is sent; an upload is complete
before its first row is inserted, so one that breaks off inserts nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import tempfile
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from aiohttp import web

from stoploss.embedded.clickhouse_engine import Answer, Engine, EngineError
from stoploss.embedded.clickhouse_request import STATEMENT_MAX_BYTES, Request, read_request, read_statement
from stoploss.embedded.clickhouse_sql import is_driver_hello, result_format
from stoploss.embedded.compression import CompressionError, choose_encoding, compress
from stoploss.embedded.ports import LOOPBACK, PID_HEADER

STATEMENTS_AT_ONCE = 32
ROWS_IN_MEMORY_BYTES = 8 << 20
SHUTDOWN_S = 10.0
LOOPBACK_NAMES = (LOOPBACK, "localhost", "::1")
OUR_OWN = ("none", "same-origin")
"""What a browser says of a request that no other site has made; a program says nothing."""
HELLO = "SELECT displayName(), version(), toUInt32(0) AS `revision()`, timezone()"
CONTENT_TYPES = (
    ("JSON", "application/json; charset=UTF-8"),
    ("TabSeparated", "text/tab-separated-values; charset=UTF-8"),
    ("CSV", "text/csv; charset=UTF-8"),
)

YIELDING = 5
"""Of how nice it is to whoever decides on the same machine."""

T = TypeVar("T")
log = logging.getLogger("stoploss.embedded.clickhouse")


class Front:
    """The handlers. `spool` is where uploads go that are too large for memory."""

    def __init__(self, engine: Engine, spool: Path) -> None:
        self._engine = engine
        self._spool = spool
        self._threads = ThreadPoolExecutor(STATEMENTS_AT_ONCE, thread_name_prefix="statement")

    def application(self) -> web.Application:
        app = web.Application(client_max_size=STATEMENT_MAX_BYTES, middlewares=[loopback_only])
        app.router.add_get("/ping", self._ping)
        app.router.add_route("*", "/", self._statement, expect_handler=_expected)
        app.on_cleanup.append(self._close)
        return app

    async def _close(self, app: web.Application) -> None:
        await asyncio.to_thread(self._threads.shutdown)
        self._engine.close()
        log.info("closed")

    async def _ping(self, request: web.Request) -> web.Response:
        return web.Response(text="Ok.\n", headers={PID_HEADER: str(os.getpid())})

    async def _statement(self, request: web.Request) -> web.Response:
        if request.method in ("GET", "HEAD") and "query" not in request.query:
            return await self._ping(request)
        response = await self._answer_or_refuse(request)
        response.headers["X-ClickHouse-Query-Id"] = _query_id(request)
        response.headers["X-ClickHouse-Timezone"] = self._engine.timezone
        return response

    async def _answer_or_refuse(self, request: web.Request) -> web.Response:
        try:
            return await self._answer(request, await read_request(request))
        except EngineError as error:
            return _refusal(error, error.status)
        except UnicodeDecodeError as error:
            not_text = EngineError.of(62, "SYNTAX_ERROR", f"The statement is not UTF-8 ({error})")
            return _refusal(not_text, not_text.status)
        except CompressionError as error:
            return _refusal(EngineError.of(271, "CANNOT_DECOMPRESS", str(error)), HTTPStatus.BAD_REQUEST)

    async def _answer(self, http: web.Request, request: Request) -> web.Response:
        with tempfile.SpooledTemporaryFile(ROWS_IN_MEMORY_BYTES, dir=str(self._spool)) as rows:
            sql, insert = await read_statement(request, rows)
            if insert is not None:
                return _response(await self._run(lambda: self._engine.insert(insert, rows, request.scope)), "")
        text, used_format = _text_and_format(sql, request)
        answer = await self._run(lambda: self._engine.query(text, request.output_format, request.scope))
        encoding = _encoding(http, request) if answer.body else ""
        packed = await self._run(lambda: compress(answer.body, encoding))
        return _response(answer, used_format, packed, encoding)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


async def _expected(request: web.Request) -> None:
    """aiohttp's own handler would quote a header that is no text, and fail over it."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        raise web.HTTPExpectationFailed
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # nothing of the answer itself is sent yet


@web.middleware
async def loopback_only(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Any web page may make a browser on this machine send requests here. Such a request carries the page's Origin,
    or, with a name that the page's owner points at 127.0.0.1, a foreign Host; one for an image carries neither, and the
    browser's own word that another site has made it."""
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site not in OUR_OWN:
        return _denied(f"Sec-Fetch-Site {site!r}: another site has sent this request")
    for name, address in (("Host", f"//{request.host}"), ("Origin", request.headers.get("Origin", f"//{LOOPBACK}"))):
        if urlsplit(address).hostname not in LOOPBACK_NAMES:
            return _denied(f"{name} {address!r} is not this machine")
    return await handler(request)


def _denied(fault: str) -> web.Response:
    sentence = f"{fault}: the embedded ClickHouse serves loopback only"
    return _refusal(EngineError.of(497, "ACCESS_DENIED", sentence), HTTPStatus.FORBIDDEN)


def _query_id(request: web.Request) -> str:
    """The caller's, if it can stand in a header."""
    wanted = request.query.get("query_id", "")
    return wanted if wanted and wanted.isascii() and wanted.isprintable() else str(uuid.uuid4())


def _text_and_format(sql: bytes, request: Request) -> tuple[str, str]:
    """The statement to run and the format of its result."""
    if not sql.strip():
        raise EngineError.of(62, "SYNTAX_ERROR", "Empty query")
    if "client_protocol_version" in request.arguments and is_driver_hello(sql):
        # The Go driver frames blocks by the revision it is told. chDB writes them plain, as of revision 0.
        return HELLO, request.output_format
    text = sql.decode()
    return text, result_format(sql) or request.output_format


def _encoding(http: web.Request, request: Request) -> str:
    if request.arguments.get("enable_http_compression", "0") in ("", "0", "false"):
        return ""
    return choose_encoding(http.headers.get("Accept-Encoding", ""))


def _response(answer: Answer, used_format: str, body: bytes = b"", encoding: str = "") -> web.Response:
    headers = {"X-ClickHouse-Summary": json.dumps(answer.summary())}
    if used_format:
        headers["X-ClickHouse-Format"] = used_format
        headers["Content-Type"] = _content_type(used_format)
    if encoding:
        headers["Content-Encoding"] = encoding
    return web.Response(body=body, headers=headers)


def _refusal(error: EngineError, status: HTTPStatus) -> web.Response:
    return web.Response(status=status, text=f"{error}\n", headers={"X-ClickHouse-Exception-Code": str(error.code)})


def _content_type(used_format: str) -> str:
    known = (content_type for prefix, content_type in CONTENT_TYPES if used_format.startswith(prefix))
    return next(known, "application/octet-stream")


def main(arguments: list[str]) -> None:
    directory, port = Path(arguments[0]), int(arguments[1])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    spool = directory / "spool"
    spool.mkdir(exist_ok=True)
    os.nice(YIELDING)
    engine = Engine(directory / "data")
    log.info("ClickHouse %s on %s:%d, loopback only, every user accepted", engine.version, LOOPBACK, port)
    web.run_app(
        Front(engine, spool).application(),
        host=LOOPBACK,
        port=port,
        print=None,
        access_log=None,
        shutdown_timeout=SHUTDOWN_S,
        auto_decompress=False,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
