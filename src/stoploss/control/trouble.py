"""Tells of a broker that is away once in a while: librdkafka reports it twenty times a second until it is back."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from confluent_kafka import KafkaError

log = structlog.get_logger(__name__)

REPEAT_S = 10.0


class TroubleLog:
    """Logs the first error of a kind, then at most one every ten seconds with the number left out."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._told_at_s: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def __call__(self, error: KafkaError) -> None:
        name, now_s = error.name(), self._clock_s()
        if now_s - self._told_at_s.get(name, -REPEAT_S) < REPEAT_S:
            self._left_out[name] = self._left_out.get(name, 0) + 1
            return
        log.warning("kafka_trouble", code=name, reason=error.str(), left_out=self._left_out.pop(name, 0))
        self._told_at_s[name] = now_s
