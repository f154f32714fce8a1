"""The lifecycle as a table in Markdown: `python -m stoploss.governance.table`; docs/governance.md carries it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from stoploss.governance.roles import IN_ANY_TEAM, OPEN, ROLE_OF
from stoploss.lifecycle import TABLE, Lifecycle

NOT_ALLOWED = "·"
STAYS = "stays"


def lifecycle_lines() -> Iterator[str]:
    """A row for each request, a column for each state: where it leads, or that it is refused."""
    yield from _table(("request", "who", *(_words(state) for state in Lifecycle)), map(_row, TABLE))


def _row(request: str) -> Sequence[str]:
    moves = TABLE[request]
    cells = [_cell(state, moves.get(state)) for state in Lifecycle]
    return (f"`{request}`", _who(request), *cells)


def _cell(state: Lifecycle, after: Lifecycle | None) -> str:
    if after is None:
        return NOT_ALLOWED
    return STAYS if after == state else _words(after)


def _who(request: str) -> str:
    if request in OPEN:
        return "all but viewers"
    return f"{ROLE_OF[request]} of any team" if request in IN_ANY_TEAM else ROLE_OF[request]


def _words(state: Lifecycle) -> str:
    return state.replace("_", " ")


def _table(header: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


if __name__ == "__main__":
    sys.stdout.write("\n".join(lifecycle_lines()) + "\n")
