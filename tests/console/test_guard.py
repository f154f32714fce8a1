"""Whose requests the guard lets through, told by their headers."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from stoploss.console.guard import is_loopback, is_same_origin

HOST = "127.0.0.1:8765"


@pytest.mark.parametrize(
    ("headers", "is_ours"),
    [
        ({"origin": f"http://{HOST}"}, True),
        ({"origin": f"https://{HOST}", "sec-fetch-site": "same-origin"}, True),
        ({}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://evil.example"}, False),
        ({"origin": f"http://evil.example#{HOST}"}, False),
        ({"origin": f"http://{HOST}.evil.example"}, False),
        ({"origin": "http://127.0.0.1:9999"}, False),
        ({"origin": f"file://{HOST}"}, False),
        ({"origin": f"http://{HOST}", "sec-fetch-site": "cross-site"}, False),
        ({"origin": f"http://{HOST}", "sec-fetch-site": "same-site"}, False),
    ],
)
def test_only_our_own_pages_may_change_something(headers: dict[str, str], is_ours: bool) -> None:
    assert is_same_origin(Headers({"host": HOST, **headers})) is is_ours


@pytest.mark.parametrize("host", ["", "[", "evil.example", "127.0.0.1.evil.example", "localhost@evil.example"])
def test_another_name_for_this_machine_is_not_believed(host: str) -> None:
    assert not is_loopback(host)
