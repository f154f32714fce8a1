"""A journal with its checkpoints, as the judge publishes them, without a broker; and what a forger can make of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from stoploss import checkpoints, journal
from stoploss.checkpoints import SignedValue
from stoploss.signing import Signer
from tests.timelines import SPEC, Timeline, traces, with_gate

INSTALLATION = "here"
EVERY = 4


def spec_of(name: str) -> str:
    return SPEC.replace("checkout", name)


def story(name: str = "checkout", seed: int = 1) -> Timeline:
    """Registered, started and applied; a leak stops it; a person resumes; it leaks and is stopped again."""
    timeline = Timeline(spec_of(name)).started()
    for run in (0, 1):
        timeline.traces(traces(100, seed=seed + run))
        timeline.seconds(2)
        timeline.traces(with_gate(traces(50, seed=seed + 10 + run, share=1.0), 3, bit=0))
        timeline.ack("flagd")
        timeline.traces(traces(20, seed=seed + 20 + run))
        timeline.seconds(4)
        if run == 0:
            timeline.ask("resume")
            timeline.ack("flagd")
    return timeline


def signed(entries: Sequence[bytes], signer: Signer, installation: str = INSTALLATION) -> list[SignedValue]:
    """The checkpoints that belong to a journal."""
    return [
        checkpoint(value, signer, installation) for value in entries if checkpoints.is_due(journal.decode(value), EVERY)
    ]


def checkpoint(value: bytes, signer: Signer, installation: str = INSTALLATION, **changes: Any) -> SignedValue:
    """Of one entry, with anything in it changed before it is signed."""
    made = checkpoints.checkpoint_of(journal.decode(value), value, installation)
    encoded = checkpoints.encode(replace(made, **changes))
    return SignedValue(encoded, signer.sign(encoded))


def relinked(entries: Sequence[bytes], number: int, /, **changes: Any) -> list[bytes]:
    """One entry changed, and every link behind it made anew: what anybody can do who may write the journal."""
    rewritten = list(entries)
    rewritten[number] = journal.encode(replace(journal.decode(entries[number]), **changes))
    for behind in range(number + 1, len(rewritten)):
        previous = journal.hash_of(rewritten[behind - 1])
        rewritten[behind] = journal.encode(replace(journal.decode(rewritten[behind]), previous=previous))
    return rewritten
