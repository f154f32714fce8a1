from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from stoploss.emit.counters import Counters
from stoploss.emit.outlet import Outlet


class BrokenForGood:
    """A producer after a fatal error, which no broker can be made to cause on demand: it refuses everything."""

    def produce(self, *args: Any, **kwargs: Any) -> None:
        raise KafkaException(KafkaError(KafkaError._FATAL, "out of sequence", fatal=True))

    def purge(self) -> None:
        pass

    def flush(self, timeout_s: float) -> int:
        return 0


def test_a_producer_that_broke_for_good_is_replaced_and_its_record_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    counters = Counters(bound=10)
    with counters.lock:
        assert counters.admit(closed=False)
        assert counters.admit(closed=False)
    outlet = Outlet({"bootstrap.servers": "127.0.0.1:1"}, counters, out_of_time=lambda: True)
    monkeypatch.setattr(outlet, "_producer", BrokenForGood())
    outlet.produce("topic", "key", b"first", counted=True)
    assert counters.snapshot().dropped == {"kafka: _FATAL": 1}
    outlet.produce("topic", "key", b"second", counted=True)
    assert counters.snapshot().sent == 1
    outlet.close()
    assert counters.snapshot().dropped == {"kafka: _FATAL": 1, "not_delivered_at_close": 1}


def test_a_full_client_is_waited_for_only_while_there_is_time() -> None:
    counters = Counters(bound=10)
    with counters.lock:
        assert counters.admit(closed=False)
        assert counters.admit(closed=False)
    asked: list[bool] = []

    def out_of_time() -> bool:
        asked.append(True)
        return len(asked) > 1

    settings = {"bootstrap.servers": "127.0.0.1:1", "queue.buffering.max.messages": 1}
    outlet = Outlet(settings, counters, out_of_time)
    outlet.produce("topic", "key", b"first", counted=True)
    outlet.produce("topic", "key", b"second", counted=True)
    assert len(asked) == 2
    assert counters.snapshot().dropped == {"not_delivered_at_close": 1}
    outlet.close()
    assert counters.snapshot().pending == 0
