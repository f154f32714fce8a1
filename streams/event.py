"""What Faust hands an agent: one event per batch."""

from __future__ import annotations

from faust.types import ConsumerMessage

from streams.batches import Batch


def event_of(batch: Batch, generation_id: int) -> ConsumerMessage:
    """Of the batch's last record, with the batch for a value. generation_id: Faust's, of this member of the group."""
    kind, timestamp_ms = batch.messages[-1].timestamp()
    return ConsumerMessage(
        topic=batch.tp.topic,
        partition=batch.tp.partition,
        offset=batch.last,
        timestamp=timestamp_ms / 1000.0,
        timestamp_type=kind,
        headers=None,
        key=None,
        value=batch,  # type: ignore[arg-type]  # the raw codec passes it through
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=0,
        tp=batch.tp,
        generation_id=generation_id,
    )
