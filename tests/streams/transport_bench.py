"""Runs transport_app.py workers against a topic of their own and reads what they did."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from .transport_app import Job

PATIENCE_S = 40.0
COORDINATOR_IS_COMING = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}
APP = Path(__file__).with_name("transport_app.py")


class Worker:
    """One worker process, its log of effects and its stderr."""

    def __init__(self, job: Job) -> None:
        self.log = Path(job.log)
        self._stderr_path = self.log.with_suffix(".stderr")
        with self._stderr_path.open("wb") as stderr:
            self.process = subprocess.Popen([sys.executable, str(APP), job.to_json()], stderr=stderr)

    def lines(self, kind: str) -> list[list[str]]:
        """The words after `kind` of every complete line of that kind, in order."""
        text = self.log.read_text() if self.log.exists() else ""
        words = [line.split() for line in text[: text.rfind("\n") + 1].splitlines()]
        return [w[1:] for w in words if w[0] == kind]

    def effects(self) -> list[tuple[int, int]]:
        """(partition, offset) in the order in which they became effective."""
        return [(int(w[0]), int(w[1])) for w in self.lines("effect")]

    def deliveries(self) -> list[tuple[int, int]]:
        return [(int(w[0]), int(offset)) for w in self.lines("deliver") for offset in w[1:]]

    def owned(self) -> set[int]:
        """The partitions that the last tick of its timer saw as its own."""
        ticks = self.lines("tick")
        return {int(p) for p in ticks[-1]} if ticks else set()

    def idle_ticks(self) -> int:
        """For how many ticks, up to the last, it has owned nothing."""
        return len(list(takewhile(lambda owned: not owned, reversed(self.lines("tick")))))

    @property
    def stderr(self) -> str:
        return self._stderr_path.read_text()

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.signal(signal.SIGTERM)
        return self.exit_code()

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait()

    def exit_code(self) -> int:
        return self.process.wait(PATIENCE_S)


class Bench:
    """A topic and a group that nobody else uses."""

    def __init__(self, bootstrap: str, directory: Path, *, name: str) -> None:
        self.bootstrap, self.directory = bootstrap, directory
        self.topic = self.group = name
        self.workers: list[Worker] = []
        self._observer = Consumer({"bootstrap.servers": bootstrap, "group.id": name})  # reads offsets, never joins
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})

    def create_topic(self, partitions: int) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        created = admin.create_topics([NewTopic(self.topic, partitions, 1)])
        for future in created.values():
            future.result()

    def produce(self, count: int, *, partitions: int = 1, each_acknowledged: bool = False) -> None:
        """`count` records to each partition; one fetch may bring them all, or one by one if acknowledged so."""
        for n in range(count):
            for partition in range(partitions):
                self._producer.produce(self.topic, str(n).encode(), partition=partition)
                if each_acknowledged:
                    self._producer.flush()
        self._producer.flush()

    def start(self, **job: Any) -> Worker:
        log = str(self.directory / f"worker-{len(self.workers)}.log")
        worker = Worker(Job(bootstrap=self.bootstrap, group=self.group, topic=self.topic, log=log, **job))
        self.workers.append(worker)
        return worker

    def effects(self) -> list[tuple[int, int]]:
        return [effect for worker in self.workers for effect in worker.effects()]

    def committed(self, partition: int = 0) -> int | None:
        offset = self._committed(TopicPartition(self.topic, partition)).offset
        return offset if offset >= 0 else None

    def commit(self, offset: int, log: str) -> None:
        """For partition 0, as somebody would who had read a log of that UUID."""
        deadline = time.monotonic() + PATIENCE_S
        while (
            self.committed() != offset
        ):  # a coordinator that does not know the topic yet says so of the partition alone
            assert time.monotonic() < deadline, f"offset {offset} cannot be committed"
            self._observer.commit(offsets=[TopicPartition(self.topic, 0, offset, log)], asynchronous=False)

    def log(self) -> str:
        """The topic's UUID, as the last commit for partition 0 has it."""
        return str(self._committed(TopicPartition(self.topic, 0)).metadata)

    def _committed(self, where: TopicPartition) -> TopicPartition:
        """A broker that has just started may not have loaded the group's coordinator yet: it is asked again."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._observer.committed([where], timeout=PATIENCE_S)[0]
            except KafkaException as why:
                if time.monotonic() > deadline or why.args[0].code() not in COORDINATOR_IS_COMING:
                    raise
                time.sleep(0.1)

    def wait(self, until: Callable[[], object], *, running: Worker | None = None) -> None:
        """Fails when the condition does not come true, at once when the worker that should bring it has died."""
        deadline = time.monotonic() + PATIENCE_S
        while not until():
            if running is not None and running.process.poll() is not None:
                raise AssertionError(f"the worker ended with {running.process.returncode}: {running.stderr}")
            if time.monotonic() > deadline:
                raise AssertionError("not within the time: " + "\n".join(w.stderr for w in self.workers))
            time.sleep(0.02)

    def close(self) -> None:
        self._observer.close()
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.signal(signal.SIGCONT)
                worker.kill()
