"""Transactions that are committed and not yet to be seen.

A broker answers a commit once it is decided, and writes the markers afterwards: a reader of what is committed that
comes between the two is shown nothing of it. On a busy machine most who read at once come too early.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from stoploss.kafka import connection
from streams.reading import NO_LEADER_YET

LONGEST_S = 12.0
"""Longer than a transaction may stay open: one that nobody ends is aborted by then."""
POLL_S = 0.02


def wait_for_markers(bootstrap: str, topic: str) -> None:
    """Until every transaction that is under way on a topic is over."""
    admin = _admin(bootstrap)
    known = admin.list_topics(topic, timeout=LONGEST_S).topics[topic]
    places = [TopicPartition(topic, partition) for partition in known.partitions]
    if not places:
        return
    deadline_s = time.monotonic() + LONGEST_S
    wanted = None
    while time.monotonic() < deadline_s:
        wanted = wanted or _ends(admin, places, IsolationLevel.READ_UNCOMMITTED)
        stable = _ends(admin, places, IsolationLevel.READ_COMMITTED)
        if wanted and stable and all(stable[partition] >= end for partition, end in wanted.items()):
            return
        time.sleep(POLL_S)


def _ends(admin: AdminClient, places: Sequence[TopicPartition], level: IsolationLevel) -> dict[int, int] | None:
    """None: a topic that was just made has no leader yet."""
    found = admin.list_offsets({place: OffsetSpec.latest() for place in places}, isolation_level=level)
    try:
        return {place.partition: future.result().offset for place, future in found.items()}
    except KafkaException as error:
        if error.args[0].code() not in NO_LEADER_YET:
            raise
        return None


@cache
def _admin(bootstrap: str) -> AdminClient:
    return AdminClient({**connection(bootstrap), "log_level": 0})
