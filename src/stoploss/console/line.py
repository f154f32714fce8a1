"""The whole line: what a stop of it, or its lift, would lead to. The request is the one that the command line sends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stoploss.console.asking import Offer
from stoploss.console.reads import Standing
from stoploss.lifecycle import FREEZE, LIVE, UNFREEZE, Lifecycle
from stoploss.review.words import count, listed

LINE_OFFERS = {
    FREEZE: Offer(FREEZE, "Stop the line", False),
    UNFREEZE: Offer(UNFREEZE, "Lift the stop of the line", True),
}
LINE_DONE = {
    FREEZE: "The line is stopped: nothing is started, resumed or ramped up until the stop is lifted.",
    UNFREEZE: "The stop of the line is lifted. Nothing runs by itself: each experiment waits for its own resume.",
}


def offered(frozen: str | None) -> Offer:
    """frozen: since when the line is stopped, by whom and why; None where it is not."""
    return LINE_OFFERS[UNFREEZE if frozen else FREEZE]


def line_consequences(action: str, standings: Sequence[Standing]) -> tuple[str, ...]:
    """What will be the case once the registrar has accepted the request."""
    return tuple(_of_stop(standings) if action == FREEZE else _of_lift(standings))


def names_of(standings: Sequence[Standing], *states: Lifecycle) -> list[str]:
    return [standing.status.experiment for standing in standings if standing.status.lifecycle in states]


def still_running(standings: Sequence[Standing]) -> list[str]:
    return names_of(standings, *LIVE)


def _of_stop(standings: Sequence[Standing]) -> Iterator[str]:
    running = still_running(standings)
    if running:
        yield f"{_experiments(running)} paused: {listed(running)}. Nobody gets a treatment any more, of any team."
    else:
        yield "Nothing runs now, so nothing is paused."
    yield "Nothing is started, resumed or ramped up until a steward lifts the stop, whoever asks."
    yield "Lowering, stopping, approving and amending go on."
    yield "The lift starts nothing: each experiment waits for its own resume, which begins a new run."


def _of_lift(standings: Sequence[Standing]) -> Iterator[str]:
    paused = names_of(standings, Lifecycle.PAUSED)
    yield "Experiments may be started, resumed and ramped up again."
    yield "Nothing runs by itself."
    if paused:
        yield f"{_experiments(paused)} paused now, and each waits for its own resume: {listed(paused)}."


def _experiments(names: Sequence[str]) -> str:
    return f"{count(len(names))} experiment{' is' if len(names) == 1 else 's are'}"
