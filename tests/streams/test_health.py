"""A worker answers its orchestrator, and its figures are what happened."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
from confluent_kafka import Producer
from prometheus_client.parser import text_string_to_metric_families

from stoploss.embedded.ports import free_port
from stoploss.errors import ConfigurationError
from streams import health
from tests.installation import Installation, Kafka, installed
from tests.timelines import SPEC

pytestmark = pytest.mark.kafka


def get(port: int, path: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def figures(port: int, name: str) -> dict[frozenset[tuple[str, str]], float]:
    """The values of a metric by their labels."""
    families = text_string_to_metric_families(get(port, "/metrics")[1])
    samples = [sample for family in families for sample in family.samples]
    return {frozenset(sample.labels.items()): sample.value for sample in samples if sample.name == name}


@pytest.fixture(scope="module")
def installation(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A worker of four roles; some traces that nobody can read lie in their topic."""
    with installed(kafka, tmp_path_factory.mktemp("health"), health_port=free_port()) as installation:
        producer = Producer({"bootstrap.servers": installation.settings.need_kafka()})
        for number in range(7):
            producer.produce(installation.settings.topics("traces"), json.dumps({"number": number}).encode())
        producer.flush()
        installation.worker("intake", "registrar", "judge", "courier")
        yield installation


@pytest.fixture(scope="module")
def port(installation: Installation) -> int:
    port = installation.settings.health_port
    assert port is not None

    def ready() -> bool:
        try:
            return get(port, "/readyz") == (200, "ok\n")
        except OSError:
            return False

    installation.wait(ready)
    return port


def test_a_worker_that_reads_all_of_its_partitions_lives_and_is_ready(port: int) -> None:
    assert get(port, "/livez") == (200, "ok\n")
    assert get(port, "/readyz") == (200, "ok\n")


def test_dead_letters_are_counted_by_role_and_reason(installation: Installation, port: int) -> None:
    labels = frozenset({"role": "intake", "reason": "malformed_json"}.items())
    installation.wait(lambda: figures(port, "stoploss_dead_letters_total") == {labels: 7})


def test_lag_age_and_stalls_are_told_for_every_partition_and_role(installation: Installation, port: int) -> None:
    ledger, partitions = installation.settings.topics("ledger"), range(installation.settings.ledger_partitions)
    installation.wait(lambda: len(figures(port, "stoploss_judged_behind_seconds")) == len(partitions))
    wanted = {frozenset({"role": "judge", "topic": ledger, "partition": str(one)}.items()) for one in partitions}
    installation.wait(lambda: wanted <= figures(port, "stoploss_lag_records").keys())
    lags, ages = figures(port, "stoploss_lag_records"), figures(port, "stoploss_unread_seconds")
    assert lags.keys() == ages.keys()
    assert max(ages.values()) < 5
    installation.wait(lambda: len(figures(port, "stoploss_loop_stall_seconds_count")) == 4)


def test_what_is_judged_is_counted_with_the_time_of_its_transaction(installation: Installation, port: int) -> None:
    installation.ask("register", "checkout", spec=SPEC)
    installation.ask("start", "checkout")
    installation.wait(lambda: figures(port, "stoploss_commands_total") == {frozenset({("action", "set_exposure")}): 1})
    assert figures(port, "stoploss_transaction_seconds_count")[frozenset()] >= 2
    assert figures(port, "stoploss_conclusions_total")[frozenset()] >= 3
    assert figures(port, "stoploss_commands_unacked") == {frozenset(): 0}
    controlled = SPEC.replace("name: checkout,", "name: search,")
    controlled = controlled.replace("flag: checkout,", "flag: search, controllers: [flagd],")
    installation.ask("register", "search", spec=controlled)
    installation.ask("start", "search")
    installation.wait(lambda: figures(port, "stoploss_commands_unacked") == {frozenset(): 1})


def test_another_path_is_not_there_and_says_what_is(port: int) -> None:
    status, text = get(port, "/secrets")
    assert (status, text) == (404, "/secrets: not here; there are /livez, /readyz and /metrics\n")


def test_a_port_that_is_taken_is_named(port: int) -> None:
    with pytest.raises(ConfigurationError, match=rf"STOPLOSS_HEALTH_PORT: cannot listen on 127\.0\.0\.1:{port}"):
        health.serve({}, "127.0.0.1", port)


@dataclasses.dataclass
class Stalled:
    """What a consumer says of itself to the probes."""

    blocked_for_s: float = 0.0
    waits_for: str | None = None

    def stalled_s(self) -> float:
        return self.blocked_for_s

    def unready(self) -> str | None:
        return self.waits_for


@pytest.mark.parametrize(
    ("consumer", "live", "ready"),
    [
        (None, None, "it is starting"),
        (Stalled(), None, None),
        (Stalled(waits_for="it restores ledger-3"), None, "it restores ledger-3"),
        (
            Stalled(blocked_for_s=11.0),
            "the event loop has not come round for 11 s",
            "the event loop has not come round for 11 s",
        ),
    ],
)
def test_a_blocked_loop_is_not_live_and_a_restore_is_not_ready(
    consumer: Stalled | None, live: str | None, ready: str | None
) -> None:
    assert health.blocked(consumer) == live
    assert health.not_ready(consumer) == ready
