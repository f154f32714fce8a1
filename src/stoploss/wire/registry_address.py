"""Where a schema registry is and how to get in: its text holds no secret, so it may stand in sentences and logs."""

from __future__ import annotations

import base64
from typing import Self
from urllib.request import Request


class RegistryAddress(str):
    """`http://host:port/path`, with what its clients say of themselves.

    authorization  value of the header; "": none is sent
    """

    authorization: str

    def __new__(cls, url: str, authorization: str = "") -> Self:
        address = super().__new__(cls, url.rstrip("/"))
        address.authorization = authorization
        return address

    def request(self, path: str, data: bytes | None = None, *, method: str = "GET", media_type: str = "") -> Request:
        """A redirect is followed without the authorization: it may lead to somebody else."""
        request = Request(self + path, data, method=method)
        if media_type:
            request.add_header("Content-Type", media_type)
            request.add_header("Accept", media_type)
        if self.authorization:
            request.add_unredirected_header("Authorization", self.authorization)
        return request


def basic(user: str, password: str) -> str:
    """
    >>> basic("ada", "secret")
    'Basic YWRhOnNlY3JldA=='
    """
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def bearer(token: str) -> str:
    return f"Bearer {token}"
