"""What brokers say of the records of one producer: where each of them stands."""

from __future__ import annotations

from confluent_kafka import Message

Partition = tuple[str | None, int | None]
OR_ANEW = "or the topic was made again"


class Places:
    """The last place of each partition. Who is told one that is not behind it has been taken for its own repeat.

    librdkafka numbers the records of a partition, so that the broker knows a repeat. Where it is told for a moment that
    there is no such partition it counts anew from nought (its issue 3712). The broker has records of these numbers by
    then: it takes the new ones for them, stores nothing, and answers with the places of the old ones as if all were
    well.
    """

    def __init__(self) -> None:
        self._last: dict[Partition, int] = {}
        self._untold: set[Partition] = set()

    def is_repeat(self, delivered: Message) -> bool:
        """Notes the place of a delivered record.

        One that the broker does not tell is no repeat, nor are those behind it: librdkafka counts on from -1.
        """
        at, offset = (delivered.topic(), delivered.partition()), delivered.offset()
        if offset is None or offset < 0:
            self._untold.add(at)
            return False
        behind = offset > self._last.get(at, -1)
        if at in self._untold and not behind:
            return False
        self._untold.discard(at)
        self._last[at] = offset
        return not behind
