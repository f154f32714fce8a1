"""Folds a ledger from its first entry, in a process of its own, and prints hashes of the journal that follows from it.

python -m tests.faults.refold '{"bootstrap": …, "prefix": …, "up_to": {partition: offset}}'
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

from stoploss.replay import StoredEntry, replay
from stoploss.settings import load
from streams.reading import whole


def hashes(told: dict[str, Any]) -> dict[str, list[str]]:
    """By experiment: sha256 of each journal entry that the ledger gives up to where it was judged."""
    settings = load(kafka=told["bootstrap"], topic_prefix=told["prefix"])
    folded: dict[str, list[str]] = {}
    for partition, up_to in told["up_to"].items():
        entries = [
            StoredEntry(int(partition), m.offset() or 0, m.timestamp()[1] * 1_000, m.value() or b"")
            for m in whole(settings.need_kafka(), settings.topics("ledger"), int(partition))
            if (m.offset() or 0) < up_to
        ]
        for experiment, journal in replay(entries, int(partition), settings.topics("control")).items():
            folded[experiment] = [hashlib.sha256(value).hexdigest() for value in journal]
    return folded


if __name__ == "__main__":
    sys.stdout.write(json.dumps(hashes(json.loads(sys.argv[1]))) + "\n")
