"""Bugs of intake's core: what is read, what is judged, what is stored."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from stoploss.intake import batch, clean, pipeline, validate
from stoploss.wire import traces
from stoploss.wire.traces import Decoded, Refused
from tests.simulation.bugs.planting import Bug, replaced


def stores_texts_as_they_came() -> AbstractContextManager[None]:
    """What the output holds is found and counted, and not masked."""

    def raw(frame: Any, output: Any, standing: Any) -> Any:
        return frame.hstack([clean._classes(output.found), *clean._columns(standing)])

    return replaced(clean, "traces", raw)


def refuses_a_batch_for_one_of_its_records() -> AbstractContextManager[None]:
    """What was read together with half a datum is a dead letter too."""

    def refused(writer: Any, datums: list[bytes], name: str, error: Exception) -> Decoded:
        letters = [Refused(place, "malformed_avro", str(error)) for place in range(len(datums))]
        return Decoded(traces._empty(name), np.zeros(0, np.int64), letters)

    return replaced(traces, "_read_apart", refused)


def passes_over_what_it_cannot_read() -> AbstractContextManager[None]:
    """No dead letter says that there was something."""
    return replaced(pipeline, "_rejects", lambda checked: [])


def judges_what_cannot_have_happened_yet() -> AbstractContextManager[None]:
    """The time of a trace is believed, whatever the broker's clock says."""
    return replaced(validate, "time_faults", lambda *_: {})


def takes_what_the_sdk_has_masked_for_harmless() -> AbstractContextManager[None]:
    """A mask says that the user has seen a card number; whoever looks for card numbers alone does not see it."""
    scan = batch.scan

    def blind(column: Any) -> Any:
        return scan(column.str.replace_all(r"\[masked:[a-z_]+\]", "nothing"))

    return replaced(batch, "scan", blind)


def counts_what_is_left_to_the_resolver() -> AbstractContextManager[None]:
    """The joiner stores bare outcomes, although they come to it again."""
    return replaced(pipeline, "_without_bare", lambda checked: checked)


BUGS: tuple[Bug, ...] = (
    stores_texts_as_they_came,
    refuses_a_batch_for_one_of_its_records,
    passes_over_what_it_cannot_read,
    judges_what_cannot_have_happened_yet,
    takes_what_the_sdk_has_masked_for_harmless,
    counts_what_is_left_to_the_resolver,
)
