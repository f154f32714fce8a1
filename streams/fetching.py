"""The reader of a worker's partitions: librdkafka, which unpacks records outside the interpreter's lock.

Membership and commits are aiokafka's (member.py); its own fetching is never used. Partitions are assigned here by hand,
each at the offset that the book of its batches names, so a position is never moved, only set anew.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic
from typing import cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from faust.types import TP

from stoploss.kafka import connection
from streams.batches import Partition
from streams.member import Limits

Fetched = dict[TP, list[Message]]

MOST_RECORDS = 50_000
ENDS_EVERY_S = 0.5
AHEAD_KB = 16 * 1024  # read ahead of all partitions together; librdkafka's own choice is four times as much

# What librdkafka tells and gets over by itself: it goes on asking for the leader.
PASSING = (
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
    KafkaError._AUTO_OFFSET_RESET,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
)


class Fetcher:
    """Records of partitions that are assigned by hand. Calls of one thread at a time, but for highwater.

    group  whose rights it reads with; it never joins it
    """

    def __init__(self, bootstrap: str, group: str, limits: Limits) -> None:
        self._consumer = Consumer(
            {
                **connection(bootstrap),
                "group.id": group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "isolation.level": limits.isolation,
                "auto.offset.reset": "earliest",
                "check.crcs": True,
                "fetch.wait.max.ms": limits.fetch_max_wait_ms,
                "fetch.queue.backoff.ms": 1,
                "queued.max.messages.kbytes": AHEAD_KB,
                "reconnect.backoff.max.ms": 1_000,
                # A topic that was made again is found after this, by default after five minutes.
                "topic.metadata.refresh.interval.ms": 5_000,
                "log_level": 0,  # librdkafka writes to stderr; what matters is raised
            }
        )
        self._reading: set[TP] = set()
        self._ends: dict[TP, int] = {}
        self._all_ends_at_s = 0.0

    def fetch(self, positions: Mapping[TP, int], anew: Collection[TP], timeout_s: float) -> Fetched:
        """What is there of these partitions, and of no others; waits for the first record no longer than timeout_s.
        Of no partitions it reads nothing, nor ahead.

        positions  the next offset of each
        anew       those whose position does not follow from what was fetched last
        Raises KafkaException for what does not pass by itself.
        """
        self._turn_to(positions, anew)
        found = self._consumer.consume(1, timeout_s) if positions else []
        if found:
            found += self._consumer.consume(MOST_RECORDS, 0)
        by_partition: dict[TP, list[Message]] = defaultdict(list)
        for message in found:
            if (error := message.error()) is None:
                by_partition[message.topic(), message.partition()].append(message)  # type: ignore[index]
            elif error.code() not in PASSING:
                raise KafkaException(error)
        fetched = {TP(*tp): messages for tp, messages in by_partition.items()}
        self._note_ends(positions, fetched)
        return fetched

    def _turn_to(self, positions: Mapping[TP, int], anew: Collection[TP]) -> None:
        leaving = [tp for tp in self._reading if tp not in positions or tp in anew]
        if leaving:
            self._consumer.incremental_unassign([TopicPartition(*tp) for tp in leaving])
            self._reading.difference_update(leaving)
        joining = [TopicPartition(*tp, offset) for tp, offset in positions.items() if tp not in self._reading]
        if joining:
            self._consumer.incremental_assign(joining)
            self._reading.update(positions)

    def _note_ends(self, positions: Collection[TP], fetched: Collection[TP]) -> None:
        """Between two fetches: whoever asks the consumer during one waits for its end, and an event loop with him."""
        now_s, asked = monotonic(), fetched
        if now_s - self._all_ends_at_s > ENDS_EVERY_S:
            self._all_ends_at_s, asked = now_s, positions
        for tp in asked:
            _, end = self._consumer.get_watermark_offsets(TopicPartition(*tp), cached=True)
            if end >= 0:
                self._ends[tp] = end

    def highwater(self, tp: TP) -> int | None:
        """Where the log ended as of the last fetch; None: nothing was fetched of it. From any thread, at once."""
        return self._ends.get(tp)

    def close(self) -> None:
        self._consumer.close()


class FetchThread:
    """A fetcher in a thread of its own. One fetch at a time, seeks included: no position moves under one under way."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._thread = ThreadPoolExecutor(1, "fetch")
        self._under_way: asyncio.Future[Fetched] | None = None

    async def fetch(self, partitions: Mapping[TP, Partition], timeout_s: float) -> Fetched:
        """From where each partition's book stands; whoever gets it delivers it, or it is read again."""
        if self._under_way is not None and not self._under_way.done():
            await asyncio.wait({self._under_way})  # its caller was cancelled: what it brings is read again
        positions = {tp: cast(int, p.next_offset) for tp, p in partitions.items()}
        anew = {tp for tp, p in partitions.items() if p.seek_due}
        for partition in partitions.values():
            partition.seek_due = True  # until the records are in our hands
        fetch = partial(self._fetcher.fetch, positions, anew, timeout_s)
        self._under_way = asyncio.get_running_loop().run_in_executor(self._thread, fetch)
        fetched = await asyncio.shield(self._under_way)
        for tp, partition in partitions.items():
            partition.seek_due = tp in fetched  # until they are delivered
        return fetched

    def highwater(self, tp: TP) -> int | None:
        """As Fetcher.highwater."""
        return self._fetcher.highwater(tp)

    async def close(self) -> None:
        """After the fetch that is under way."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._fetcher.close)
