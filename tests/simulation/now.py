"""Whose turn it is: the world that runs, and the process in it that is running. A client belongs to who makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.processes import Process
    from tests.simulation.world import World


class Silent:
    """A logger that says nothing."""

    def __getattr__(self, name: str) -> Any:
        return self._nothing

    def _nothing(self, *_: object, **__: object) -> None:
        return None


_worlds: list[World] = []


def enter(world: World) -> None:
    _worlds.append(world)


def leave() -> None:
    _worlds.pop()


def world() -> World:
    return _worlds[-1]


def running() -> tuple[World, Process]:
    return _worlds[-1], _worlds[-1].stack[-1][0]
