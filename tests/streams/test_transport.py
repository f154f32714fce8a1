"""The batch transport on a real Kafka: workers that raise, hang, freeze, are killed, join and leave.

The workers are processes (transport_app.py); what they did is read from their logs and from the group's
committed offsets.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from confluent_kafka import Producer

from streams.admin import Admin

from .transport_bench import PATIENCE_S, Bench, Worker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]

EXIT_CODE = 70


class Kafka(Protocol):
    bootstrap: str


@pytest.fixture
def bench(kafka: Kafka, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(kafka.bootstrap, tmp_path, name=f"transport-{tmp_path.parent.name}-{tmp_path.name}")
    yield bench
    bench.close()


def all_of(bench: Bench, count: int, *, partitions: int = 1) -> set[tuple[int, int]]:
    return {(partition, offset) for partition in range(partitions) for offset in range(count)}


def test_an_agent_that_raises_ends_the_worker_and_its_batch_is_delivered_again(bench: Bench) -> None:
    bench.create_topic(1)
    worker = bench.start(raise_at=5)
    bench.produce(5)
    bench.wait(lambda: bench.committed() == 5, running=worker)
    bench.produce(5)
    assert worker.exit_code() == EXIT_CODE, worker.stderr
    assert "raised NotAnException('a panic'); this worker ends with exit code 70" in worker.stderr
    assert bench.committed() == 5

    successor = bench.start()
    bench.wait(lambda: bench.committed() == 10, running=successor)
    assert successor.effects() == [(0, offset) for offset in range(5, 10)]
    assert successor.stop() == 0


@pytest.mark.parametrize(("log", "first"), [("another log", 0), ("", 3)])
def test_what_was_committed_counts_unless_it_is_of_another_topic_of_that_name(
    bench: Bench, log: str, first: int
) -> None:
    """A commit on its way while the topic was made again would have its successor begin behind what nobody has read.

    A version before, or a person's hand, names no log.
    """
    bench.create_topic(1)
    bench.produce(5)
    bench.commit(3, log)
    worker = bench.start()
    bench.wait(lambda: bench.committed() == 5, running=worker)
    assert worker.effects() == [(0, offset) for offset in range(first, 5)]
    assert worker.stop() == 0
    assert bench.log() == Admin(bench.bootstrap).uuid(bench.topic)


def test_a_worker_killed_in_mid_traffic_loses_nothing_and_had_committed_only_what_was_done(bench: Bench) -> None:
    bench.create_topic(2)
    total = 0
    for _ in range(2):
        worker = bench.start()
        kill_in_mid_traffic(bench, worker)
        total += 200
        done = set(bench.effects())
        for partition in (0, 1):
            committed = bench.committed(partition) or 0
            assert {(partition, offset) for offset in range(committed)} <= done
    last = bench.start()
    bench.wait(lambda: set(bench.effects()) == all_of(bench, total, partitions=2), running=last)
    bench.wait(lambda: [bench.committed(0), bench.committed(1)] == [total, total], running=last)


def test_the_partitions_of_a_killed_worker_do_not_wait_for_its_session(bench: Bench) -> None:
    forever_s = 10 * PATIENCE_S
    bench.create_topic(2)
    bench.produce(5, partitions=2)
    killed, alive = (bench.start(session_timeout_s=forever_s) for _ in range(2))
    bench.wait(lambda: len(killed.owned()) == len(alive.owned()) == 1, running=alive)
    killed.kill()
    successor = bench.start(session_timeout_s=forever_s)
    bench.wait(lambda: len(successor.owned()) == len(alive.owned()) == 1, running=successor)
    bench.produce(5, partitions=2)
    bench.wait(lambda: [bench.committed(0), bench.committed(1)] == [10, 10], running=successor)
    assert alive.process.poll() is None


def kill_in_mid_traffic(bench: Bench, worker: Worker) -> None:
    bench.wait(lambda: worker.owned() == {0, 1}, running=worker)
    bench.produce(200, partitions=2)
    bench.wait(lambda: len(worker.effects()) > 20, running=worker)
    worker.kill()


def test_workers_that_join_and_leave_lose_nothing(bench: Bench) -> None:
    bench.create_topic(2)
    first = bench.start()
    bench.wait(lambda: first.owned() == {0, 1}, running=first)
    bench.produce(50, partitions=2)
    second = bench.start()
    bench.produce(50, partitions=2, each_acknowledged=True)
    bench.wait(lambda: len(first.owned()) == len(second.owned()) == 1, running=second)
    bench.produce(50, partitions=2)
    assert first.stop() == 0
    bench.wait(lambda: second.owned() == {0, 1}, running=second)
    bench.produce(50, partitions=2)
    bench.wait(lambda: [bench.committed(0), bench.committed(1)] == [200, 200], running=second)
    assert set(bench.effects()) == all_of(bench, 200, partitions=2)
    assert second.stop() == 0


def test_an_agent_that_never_ends_holds_up_a_rebalance_only_until_its_deadline_and_then_owns_nothing(
    bench: Bench, tmp_path: Path
) -> None:
    bench.create_topic(2)
    gate = tmp_path / "gate"
    stuck = bench.start(wait_for=str(gate), limits={"drain_timeout_s": 0.5})
    bench.produce(5, partitions=2)
    bench.wait(lambda: stuck.lines("deliver"), running=stuck)

    joined = bench.start()
    bench.wait(lambda: len(joined.effects()) == 5, running=joined)
    gate.touch()
    bench.wait(lambda: set(bench.effects()) == all_of(bench, 5, partitions=2), running=stuck)
    assert stuck.lines("stale")
    assert max(Counter(bench.effects()).values()) == 1
    assert "batches not completed in time, their next owner is given them again" in stuck.stderr


def test_a_worker_frozen_past_its_session_does_nothing_when_it_comes_back(bench: Bench, tmp_path: Path) -> None:
    bench.create_topic(1)
    gate = tmp_path / "gate"
    frozen = bench.start(wait_for=str(gate))
    bench.produce(5)
    bench.wait(frozen.deliveries, running=frozen)
    frozen.signal(signal.SIGSTOP)

    successor = bench.start()
    bench.wait(lambda: bench.committed() == 5, running=successor)
    gate.touch()
    frozen.signal(signal.SIGCONT)
    bench.wait(lambda: frozen.lines("stale"), running=frozen)
    bench.wait(lambda: len(successor.owned() | frozen.owned()) == 1, running=frozen)
    assert Counter(bench.effects()) == Counter(all_of(bench, 5))


def test_a_standby_idle_for_longer_than_max_poll_interval_takes_over(bench: Bench) -> None:
    bench.create_topic(1)
    owner = bench.start(max_poll_interval_s=2.0)
    other = bench.start(max_poll_interval_s=2.0)
    longer_than_max_poll_interval = 10  # ticks of a quarter second
    bench.wait(lambda: any(w.idle_ticks() > longer_than_max_poll_interval for w in (owner, other)))
    owner, standby = sorted((owner, other), key=lambda worker: len(worker.owned()), reverse=True)
    assert (owner.owned(), standby.owned()) == ({0}, set())

    assert owner.stop() == 0
    bench.produce(3)
    bench.wait(lambda: standby.effects() == [(0, 0), (0, 1), (0, 2)], running=standby)


def test_aborted_records_are_hidden_and_commit_markers_cause_no_second_reading(bench: Bench) -> None:
    bench.create_topic(1)
    worker = bench.start()
    bench.wait(lambda: worker.owned() == {0}, running=worker)
    producer = Producer({"bootstrap.servers": bench.bootstrap, "transactional.id": bench.group})
    producer.init_transactions()
    for n in range(10):
        producer.begin_transaction()
        producer.produce(bench.topic, b"aborted" if n % 3 == 1 else b"committed", partition=0)
        producer.flush()
        producer.abort_transaction() if n % 3 == 1 else producer.commit_transaction()
    # Each transaction is a record and its marker; the third, sixth and so on were aborted.
    expected = [(0, 2 * n) for n in range(10) if n % 3 != 1]
    bench.wait(lambda: len(worker.effects()) >= len(expected), running=worker)
    bench.wait(lambda: bench.committed() == 19, running=worker)
    bench.wait(lambda: worker.lines("progress")[-1] == ["0", "19", "20"], running=worker)
    assert worker.effects() == worker.deliveries() == expected
    assert {words[2] for words in worker.lines("effect")} == {"committed"}


def test_a_long_restore_holds_up_neither_other_partitions_nor_membership_and_its_start_is_committed(
    bench: Bench, tmp_path: Path
) -> None:
    bench.create_topic(2)
    gate = tmp_path / "gate"
    worker = bench.start(restore={"0": 3}, wait_for=str(gate))
    bench.produce(5, partitions=2)
    bench.wait(lambda: worker.deliveries() == [(1, offset) for offset in range(5)], running=worker)
    longer_than_request_and_session_timeout = 27  # ticks of a quarter second, from when both were assigned
    bench.wait(lambda: len(worker.lines("tick")) > longer_than_request_and_session_timeout, running=worker)
    assert worker.lines("restore") == [["0"]]
    assert worker.owned() == {1}
    gate.touch()
    bench.wait(lambda: {e for e in worker.effects() if e[0] == 0} == {(0, 3), (0, 4)}, running=worker)
    bench.wait(lambda: bench.committed(0) == 5, running=worker)


def test_a_snapshot_ahead_of_the_committed_offset_makes_the_lost_commit_good(bench: Bench) -> None:
    bench.create_topic(1)
    bench.produce(5)
    worker = bench.start(restore={"0": 5})
    bench.wait(lambda: bench.committed() == 5, running=worker)
    assert worker.deliveries() == []


@pytest.mark.parametrize(
    ("trouble", "limits", "sentence"),
    [
        (
            {"hang_at": 2},
            {"progress_timeout_s": 1.5},
            "was delivered but nothing has been completed for",
        ),
        ({"block_at": 2}, {"progress_timeout_s": 1.5}, "the event loop has been blocked for"),
        ({"broken_recovery": True}, {"stall_timeout_s": 1.5}, "partitions are assigned but have not been read for"),
        ({"restore": {"0": 0}, "wait_for": "/nowhere"}, {"restore_timeout_s": 1.5}, "its restore has not ended"),
        ({"reads": "strangers"}, {}, "an agent reads strangers, which make_transport() was not told of"),
    ],
    ids=["an agent that hangs", "a blocked loop", "a recovery that never ends", "a restore that never ends", "a topic"],
)
def test_a_worker_that_cannot_go_on_says_why_and_exits(
    bench: Bench, trouble: dict[str, object], limits: dict[str, float], sentence: str
) -> None:
    bench.create_topic(1)
    bench.produce(3)
    worker = bench.start(**trouble, limits={**limits, "watch_interval_s": 0.25})
    assert worker.exit_code() == EXIT_CODE, worker.stderr
    assert sentence in worker.stderr
    assert bench.committed() is None
