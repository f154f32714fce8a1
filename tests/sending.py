"""A service that sends traces beside a test and knows where each stands; what the ledger counted of them, by hand."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from confluent_kafka import KafkaError, Message, Producer

from stoploss import ledger
from stoploss.evidence import block_columns
from stoploss.ledger import EvidenceBlock
from stoploss.settings import Settings
from tests.installation import values

Place = tuple[int, int]
"""Partition and offset of a trace."""


class Sender(threading.Thread, ABC):
    """Works from `start` to `end`; what it raises is told at the end."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="service", daemon=True)
        self.settings = settings
        self._fault: BaseException | None = None
        self._stopping = threading.Event()
        self._producer = Producer({"bootstrap.servers": settings.need_kafka(), "linger.ms": 5, "log_level": 0})

    @abstractmethod
    def work(self) -> None:
        """Sends until `ends_within` says so."""

    def run(self) -> None:
        try:
            self.work()
        except BaseException as fault:
            self._fault = fault
            raise

    def ends_within(self, seconds: float) -> bool:
        """Waits so long, or until it is to end."""
        return self._stopping.wait(seconds)

    def send(self, value: bytes, placed: Callable[[Place], object], key: bytes | None = None) -> None:
        """placed: is told where the trace stands, once it does."""

        def delivered(error: KafkaError | None, message: Message) -> None:
            assert error is None, error
            placed((message.partition() or 0, message.offset() or 0))

        self._producer.produce(self.settings.topics("traces"), value, key, on_delivery=delivered)
        self._producer.poll(0)

    def end(self) -> None:
        self._stopping.set()
        self.join(30)
        assert self._producer.flush(30) == 0
        assert self._fault is None


def untrimmed(settings: Settings, experiment: str) -> Iterator[Place]:
    """The watermark rule by hand: of each source, what lies beyond all that an earlier block had."""
    highest: dict[str, int] = {}
    for value in values(settings, "ledger"):
        block = ledger.decode(value)
        if not isinstance(block, EvidenceBlock) or block.experiment != experiment:
            continue
        columns = block_columns(block)
        before = dict(highest)
        for code, offset in zip(columns.source.tolist(), columns.offset.tolist(), strict=True):
            source = block.sources[code]
            if offset > before.get(source.key, -1):
                yield source.partition, offset
                highest[source.key] = max(offset, highest.get(source.key, -1))
