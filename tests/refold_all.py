"""Folds all ledgers of a directory as a judge with restarts would: `python -m tests.refold_all DIR FETCH SNAPSHOTS`.

FETCH entries come at a time; after every SNAPSHOTS of such fetches (0: never) the state is saved and restored, as in a
process that was killed and started again. Prints the name and the hash of all that left the judge, a ledger a line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from stoploss import snapshot
from stoploss.errors import WireError
from stoploss.ledger import Entry
from stoploss.monitor import step
from stoploss.outputs import Output
from stoploss.state import PartitionState
from tests.refold import hash_of, read_entries
from tests.timelines import SECRET, stored


def fetches(path: Path, size: int) -> Iterator[list[Entry]]:
    entries = read_entries(path)
    while fetch := list(islice(entries, size)):
        yield fetch


def outputs_of(path: Path, size: int, snapshots_every: int) -> list[Output]:
    state, outputs = PartitionState(0), []
    for number, fetch in enumerate(fetches(path, size), start=1):
        for entry in fetch:
            try:
                outputs += step(state, entry)
            except WireError:  # passed over, as the judge does
                state.offset = entry.offset
        if snapshots_every and number % snapshots_every == 0:
            state = snapshot.load(PartitionState, stored(state), SECRET)
    return outputs


if __name__ == "__main__":
    directory, size, snapshots_every = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    for path in sorted(directory.glob("*.ledger")):
        print(path.stem, hash_of(outputs_of(path, size, snapshots_every)), flush=True)  # noqa: T201
