"""A pytest plugin that keeps every ledger which a test writes, to be judged again elsewhere:

    STOPLOSS_KEEP_LEDGERS=DIR python -m pytest -p tests.every_ledger tests/rules

Each becomes NUMBER.ledger (see tests/refold.py) and NUMBER.json: the test, and the hash of all that left the judge.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stoploss.state import PartitionState
from tests import timelines
from tests.refold import hash_of, write_entries
from tests.timelines import Timeline

KEPT = Path(os.environ["STOPLOSS_KEEP_LEDGERS"])
_written: list[Timeline] = []
_began: Callable[..., None] = Timeline.__init__


def _began_and_noted(timeline: Timeline, *arguments: Any, **named: Any) -> None:
    """A timeline that goes on from a state of another has no ledger of its own from its first entry on."""
    _began(timeline, *arguments, **named)
    if timeline.state == PartitionState(0):
        _written.append(timeline)


timelines.Timeline.__init__ = _began_and_noted  # type: ignore[method-assign]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Timelines of module fixtures and caches are written with the test that made them."""
    result = yield
    for timeline in _written:
        if timeline.entries:
            _keep(item.nodeid, timeline)
    _written.clear()
    return result


def _keep(test: str, timeline: Timeline) -> None:
    number = len(list(KEPT.glob("*.json")))
    write_entries(KEPT / f"{number:05}.ledger", timeline.entries)
    (KEPT / f"{number:05}.json").write_text(json.dumps({"test": test, "hash": hash_of(timeline.outputs)}))
