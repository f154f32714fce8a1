"""A request to the embedded ClickHouse as a program without a driver sends it."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from urllib.parse import urlencode

from stoploss.embedded.clickhouse import EmbeddedClickHouse

Response = tuple[int, dict[str, str], bytes]


def ask(
    clickhouse: EmbeddedClickHouse,
    body: bytes = b"",
    method: str = "POST",
    path: str = "/",
    headers: Mapping[str, str] | None = None,
    arguments: Mapping[str, str] | None = None,
    **more_arguments: str,
) -> Response:
    connection = http.client.HTTPConnection("127.0.0.1", clickhouse.port, timeout=60)
    try:
        connection.request(
            method, f"{path}?{urlencode({**(arguments or {}), **more_arguments})}", body or None, dict(headers or {})
        )
        response = connection.getresponse()
        return response.status, dict(response.headers), response.read()
    finally:
        connection.close()
