"""What cannot be sent. It stays inside the SDK: counted by its reason, never raised into the service."""

from __future__ import annotations


class Unsendable(ValueError):
    """A record, token or evaluation that cannot be used.

    reason  "field: what is wrong", without the value, so that there are few different ones and none holds user data
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)
