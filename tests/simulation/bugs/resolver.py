"""Bugs of the resolver: what became of bare outcomes, and how far it is done with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from streams import looking_up, places, resolver
from streams.batches import Batch
from streams.looking_up import UNRESOLVED, Waypoint
from streams.source_transactions import SourceTransactor
from streams.transactions import Outgoing, Transactor
from streams.transport import consumer_of
from tests.simulation.bugs.planting import Bug, replaced


@contextmanager
def _place_apart(order: Any) -> Iterator[None]:
    """Outputs in a transaction, the place in another one."""

    def publish_up_to(self: Any, records: Sequence[Outgoing], done: int) -> None:
        for part in order(records):
            self._done = done
            self._apart = part is None
            self.publish(() if part is None else part)

    def commit(self: Any) -> None:
        if self._apart:
            self._send_place()
        Transactor._commit(self)

    with replaced(SourceTransactor, "publish_up_to", publish_up_to), replaced(SourceTransactor, "_commit", commit):
        yield


def moves_on_before_it_has_answered() -> AbstractContextManager[None]:
    """The place is kept first: a crash between the two loses outcomes."""
    return _place_apart(lambda records: (None, records))


def moves_on_after_it_has_answered() -> AbstractContextManager[None]:
    """The place is kept last: a crash between the two sends outcomes twice."""
    return _place_apart(lambda records: (records, None))


def goes_by_what_its_group_has_committed() -> AbstractContextManager[None]:
    """Its own place is not asked for, and the group's offset comes later."""

    def place(self: Any, log: str) -> int | None:
        return places.committed(self._others[0], self._source)

    return replaced(SourceTransactor, "place", place)


def is_done_as_soon_as_it_has_read() -> AbstractContextManager[None]:
    """A batch is complete before its traces are looked up."""
    handle = resolver.Resolver.handle

    class Done:
        """A consumer for which everything is complete already."""

        def __init__(self, app: Any) -> None:
            self.owns, self.lives = consumer_of(app).owns, consumer_of(app).lives

        def complete(self, batch: Batch) -> bool:
            return True

    async def early(self: Any, batch: Batch) -> None:
        await handle(self, batch)
        consumer_of(self.app).complete(batch)

    @contextmanager
    def both() -> Iterator[None]:
        with replaced(resolver.Resolver, "handle", early), replaced(resolver, "consumer_of", Done):
            yield

    return both()


def gives_up_in_silence() -> AbstractContextManager[None]:
    """What has no trace in the end is given back to nobody."""
    fates = Waypoint._fates

    def silent(self: Any, *asked: Any) -> Iterator[tuple[str, Outgoing]]:
        return ((fate, outgoing) for fate, outgoing in fates(self, *asked) if fate != UNRESOLVED)

    return replaced(Waypoint, "_fates", silent)


def waits_for_no_trace() -> AbstractContextManager[None]:
    """What is not stored at the first look is given up."""

    def impatient(self: Any, tp: Any) -> Waypoint:
        return looking_up.Waypoint(self.settings, tp, None)

    return replaced(resolver.Resolver, "waypoint", impatient)


BUGS: tuple[Bug, ...] = (
    moves_on_before_it_has_answered,
    moves_on_after_it_has_answered,
    goes_by_what_its_group_has_committed,
    is_done_as_soon_as_it_has_read,
    gives_up_in_silence,
    waits_for_no_trace,
)
