"""What one HTTP request asks of ClickHouse: its statement, the rows after it, and what holds for it."""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import IO

from aiohttp import web

from stoploss.embedded.clickhouse_engine import EngineError, Scope
from stoploss.embedded.clickhouse_sql import RowsInsert, split_insert
from stoploss.embedded.compression import BodyDecoder

# A statement's head is looked for in this much of the body, ClickHouse's own max_query_size unless a request
# raises it; what is still no INSERT … FORMAT is kept in memory.
HEAD_BYTES = 256 << 10
STATEMENT_MAX_BYTES = 256 << 20
READ_BYTES = 256 << 10
DEFAULT_FORMAT = "TabSeparated"
_FORMAT = re.compile(r"[A-Za-z0-9_]{1,64}")
PARAMETER = "param_"
# Arguments of the interface itself; every other one is a setting.
INTERFACE_ARGUMENTS = frozenset(
    ("query", "query_id", "database", "default_format", "user", "password", "role", "quota_key")
    + ("session_id", "session_timeout", "session_check", "close_session", "client_protocol_version")
    + ("wait_end_of_query", "buffer_size", "compress", "decompress", "stacktrace")
)
REFUSED_WHEN_SET = {
    "compress": "ClickHouse's own block compression; use Accept-Encoding with enable_http_compression=1",
    "decompress": "ClickHouse's own block compression; use Content-Encoding",
    "role": "roles; every caller may do everything",
}


@dataclass(frozen=True, slots=True)
class Request:
    """A request before its statement is read.

    arguments  of the address and, of a form, its fields
    body       the plain bytes of the body, decompressed; of a form nothing
    """

    arguments: Mapping[str, str]
    body: AsyncIterator[bytes]
    output_format: str
    scope: Scope


async def read_request(request: web.Request) -> Request:
    """Raises EngineError for what this front does not do."""
    arguments: dict[str, str] = dict(request.query)
    body = _plain_body(request)
    if request.content_type == "multipart/form-data":
        arguments |= await _form_fields(request)
        body = _nothing()
    _refuse_unsupported(arguments)
    headers = request.headers
    wanted_format = arguments.get("default_format") or headers.get("X-ClickHouse-Format") or DEFAULT_FORMAT
    if not _FORMAT.fullmatch(wanted_format):
        raise EngineError.of(73, "UNKNOWN_FORMAT", f"Unknown format {wanted_format!r:.80}")
    return Request(
        arguments=arguments,
        body=body,
        output_format=wanted_format,
        scope=Scope(
            database=arguments.get("database") or headers.get("X-ClickHouse-Database") or "",
            settings={name: value for name, value in arguments.items() if _is_setting(name)},
            parameters={
                name.removeprefix(PARAMETER): value for name, value in arguments.items() if name.startswith(PARAMETER)
            },
            read_only=request.method in ("GET", "HEAD"),
        ),
    )


async def read_statement(request: Request, rows: IO[bytes]) -> tuple[bytes, RowsInsert | None]:
    """The statement, or the INSERT whose rows now stand in `rows`, which is rewound.

    ClickHouse reads `query=`, a line break and the body as one text. Rows go to the file as they arrive.
    """
    head = request.arguments.get("query", "").encode()
    text = bytearray(head + b"\n" if head else b"")
    complete = await _extend(text, request.body, until=HEAD_BYTES)
    insert = split_insert(bytes(text))
    if not complete and (insert is None or insert.rows_at == len(text)):  # the border may lie further on
        await _extend(text, request.body, until=STATEMENT_MAX_BYTES)
        insert = split_insert(bytes(text))
    if insert is not None:
        rows.write(text[insert.rows_at :])
        async for chunk in request.body:
            rows.write(chunk)
        rows.seek(0)
    elif len(text) >= STATEMENT_MAX_BYTES:
        raise EngineError.of(
            62,
            "QUERY_IS_TOO_LARGE",
            f"The statement is larger than {STATEMENT_MAX_BYTES} bytes; send rows after FORMAT",
        )
    return bytes(text), insert


async def _extend(text: bytearray, body: AsyncIterator[bytes], *, until: int) -> bool:
    """Append chunks until the text is that long; whether the body ended."""
    while len(text) < until:
        chunk = await anext(body, None)
        if chunk is None:
            return True
        text += chunk
    return False


async def _plain_body(request: web.Request) -> AsyncIterator[bytes]:
    decoder = BodyDecoder(request.headers.get("Content-Encoding", "").strip().lower())
    async for chunk in request.content.iter_chunked(READ_BYTES):
        if plain := decoder.feed(chunk):
            yield plain
    decoder.finish()


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""  # makes it a generator


async def _form_fields(request: web.Request) -> dict[str, str]:
    """clickhouse_connect sends a form when parameters are too long for an address."""
    fields: dict[str, str] = {}
    try:
        form = await request.post()
    except (ValueError, LookupError, RuntimeError, AssertionError, zlib.error) as error:
        raise EngineError.of(36, "BAD_ARGUMENTS", f"The body is no form, as its Content-Type says: {error}") from error
    for name, value in form.items():
        if not isinstance(value, str):
            raise EngineError.of(
                48,
                "NOT_IMPLEMENTED",
                f"The embedded ClickHouse takes no table along with a query; got file field {name!r}",
            )
        fields[name] = value
    return fields


def _is_setting(name: str) -> bool:
    return name not in INTERFACE_ARGUMENTS and not name.startswith(PARAMETER)


def _refuse_unsupported(arguments: Mapping[str, str]) -> None:
    for name, what in REFUSED_WHEN_SET.items():
        if arguments.get(name, "0") not in ("", "0", "false"):
            raise EngineError.of(
                48, "NOT_IMPLEMENTED", f"{name}={arguments[name]}: the embedded ClickHouse does not do {what}"
            )
