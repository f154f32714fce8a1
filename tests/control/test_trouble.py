from __future__ import annotations

from confluent_kafka import KafkaError
from structlog.testing import capture_logs

from stoploss.control.trouble import TroubleLog

AWAY = KafkaError(KafkaError._TRANSPORT)
ALL_AWAY = KafkaError(KafkaError._ALL_BROKERS_DOWN)


def test_a_repeated_trouble_is_told_once_in_ten_seconds_with_the_number_left_out() -> None:
    now_s = [100.0]
    trouble = TroubleLog(lambda: now_s[0])
    with capture_logs() as logs:
        for now_s[0] in (100.0, 100.1, 109.9, 110.0, 110.1):
            trouble(AWAY)
    assert [(entry["code"], entry["left_out"]) for entry in logs] == [("_TRANSPORT", 0), ("_TRANSPORT", 2)]


def test_another_trouble_is_told_at_once() -> None:
    trouble = TroubleLog(lambda: 1.0)
    with capture_logs() as logs:
        for error in (AWAY, ALL_AWAY, AWAY):
            trouble(error)
    assert [entry["code"] for entry in logs] == ["_TRANSPORT", "_ALL_BROKERS_DOWN"]
