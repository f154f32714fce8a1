"""What a member of the group notices of itself, without a broker."""

from __future__ import annotations

import asyncio
import errno
from types import SimpleNamespace
from typing import Any

import pytest

from streams.member import MemberThread


class Said:
    """A member's log."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, text: str, *values: object) -> None:
        self.lines.append(text % values)


def member(**fields: Any) -> MemberThread:
    """A member whose thread was never started."""
    made = MemberThread.__new__(MemberThread)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


async def ended(error: Exception | None) -> asyncio.Task[None]:
    async def coordination() -> None:
        if error is not None:
            raise error

    task = asyncio.create_task(coordination())
    await asyncio.wait([task])
    return task


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no space"), None])
def test_a_coordination_that_an_error_has_ended_is_no_secret(error: Exception | None) -> None:
    task = asyncio.run(ended(error))
    coordinator = SimpleNamespace(_coordination_task=task, _pending_exception=None)
    assert member(_consumer=SimpleNamespace(_coordinator=coordinator)).unseen_error() is error


def test_a_seat_that_cannot_be_written_ends_no_membership() -> None:
    def full(member_id: str) -> None:
        raise OSError(errno.ENOSPC, "no space left", member_id)

    log = Said()
    member(log=log)._keep(full, "a-member")
    assert "the seat could not be written" in log.lines[0]
