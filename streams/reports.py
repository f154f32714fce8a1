"""What brokers say of the records of one producer: where each of them stands."""

from __future__ import annotations

from confluent_kafka import Message

Partition = tuple[str | None, int | None]
OR_ANEW = "or the topic was made again"


class Places:
    """The last place of each partition. Who is told one that is not behind it, or none, was taken for a repeat.

    librdkafka numbers the records of a partition, so that the broker knows a repeat. Where it is told for a moment that
    there is no such partition it counts anew from nought (its issue 3712). The broker has records of these numbers by
    then: it takes the new ones for them, stores nothing, and answers with the places of the old ones as if all were
    well.

    A batch that another has overtaken is taken for a repeat as well, and stands at no place (kafka.IN_ORDER). Where one
    request is under way at a time, or a transaction that the broker checks, a true repeat is of the last batch, whose
    place each broker knows: so who is told none has lost it, or cannot know.
    """

    def __init__(self) -> None:
        self._last: dict[Partition, int] = {}

    def is_repeat(self, delivered: Message) -> bool:
        """Notes the place of a delivered record."""
        at, offset = (delivered.topic(), delivered.partition()), delivered.offset()
        if offset is None or offset <= self._last.get(at, -1):
            return True
        self._last[at] = offset
        return False
