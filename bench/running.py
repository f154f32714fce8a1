"""A whole installation to be measured: its processes with what they cost, its consumers with how far they are behind.

Everything runs as `stoploss up` runs it, on this machine: an embedded Kafka and ClickHouse, a process for each role,
and a producer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from bench.judge_fold import SPEC
from stoploss.cli import asking
from stoploss.cli.stack import ROLES, Stack
from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.embedded.kafka import EmbeddedKafka
from stoploss.settings import Settings, load
from stoploss.store.client import connect
from stoploss.topics import TOPICS
from stoploss.wire import records
from streams.appender import Appender
from streams.registry_view import RegistryView

FOLLOWED = {"intake": "traces", "judge": "ledger", "recorder": "traces_clean"}
"""What each role reads of what grows with the traces."""
WARM_S, PATIENCE_S, POLL_S = 5.0, 300.0, 0.2
DRAINED_S = 1.0
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Processor seconds of a process so far, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in use now, what it shares with others too."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Lag:
    """Of a role: records that it has yet to commit, and the end of what it reads."""

    records: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What was measured while traces came at a rate.

    traces    that were sent in it
    cpu_s     processor seconds by process: those of a role together
    behind_s  by role: what it has yet to commit, as seconds of what comes, before and after
    bytes     that each topic has got on the broker's disk, as producers compress them
    """

    rate_per_s: int
    seconds: float
    traces: int
    cpu_s: Mapping[str, float]
    behind_s: Mapping[str, tuple[float, float]]
    bytes: Mapping[str, int]

    def micros_a_trace(self, name: str) -> float:
        return self.cpu_s[name] * 1e6 / max(self.traces, 1)

    @property
    def cores(self) -> float:
        return sum(self.cpu_s.values()) / self.seconds


@dataclass(slots=True)
class Running:
    """An installation with its experiments running."""

    settings: Settings
    stack: Stack
    kafka: EmbeddedKafka
    clickhouse: EmbeddedClickHouse
    experiments: Sequence[str]
    admin: AdminClient

    def pids(self) -> dict[str, list[int]]:
        """By name; raises SystemExit where a role has ended."""
        found: dict[str, list[int]] = {"broker": [self.kafka.pid], "clickhouse": [self.clickhouse.pid]}
        for role in self.stack.processes:
            if role.process is None or role.process.poll() is not None:
                raise SystemExit(f"{role.name} has ended; its log: {role.log.read_text()[-2_000:]}")
            found.setdefault(role.name, []).append(role.process.pid)
        return found

    def cpu_s(self) -> dict[str, float]:
        return {name: sum(map(cpu_s, pids)) for name, pids in self.pids().items()}

    def resident_bytes(self) -> dict[str, int]:
        return {name: sum(map(resident_bytes, pids)) for name, pids in self.pids().items()}

    def lags(self) -> dict[str, Lag]:
        return {role: self._lag(role, self.settings.topics(topic)) for role, topic in FOLLOWED.items()}

    def _lag(self, role: str, topic: str) -> Lag:
        group = f"stoploss-{self.settings.installation}-{role}"
        places = [TopicPartition(topic, number) for number in self._partitions(topic)]
        asked = self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, places)])
        done = {place.partition: max(place.offset, 0) for place in asked[group].result().topic_partitions}
        ends = self.admin.list_offsets({place: OffsetSpec.latest() for place in places})
        end = {place.partition: found.result().offset for place, found in ends.items()}
        return Lag(sum(end[number] - done.get(number, 0) for number in end), sum(end.values()))

    def _partitions(self, topic: str) -> Sequence[int]:
        return list(self.admin.list_topics(topic, 10).topics[topic].partitions)

    def bytes(self) -> dict[str, int]:
        """On the broker's disk, by topic."""
        found = dict.fromkeys(TOPICS, 0)
        for log in self.kafka.directory.glob("*/*/*.log"):
            name = log.parent.name.rpartition("-")[0].removeprefix(self.settings.topic_prefix)
            found[name] = found.get(name, 0) + log.stat().st_size
        return found

    def stored_bytes(self) -> float:
        """Of a trace in ClickHouse, with the sets that it is counted in."""
        client = connect(self.clickhouse.url, database=self.settings.clickhouse_database)
        size = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase() AND table IN"
        tables = "('traces', 'trace_minutes', 'trace_delays', 'experiment_minutes')"
        ((size_bytes,),) = client.query(f"{size} {tables}").result_rows
        ((rows,),) = client.query("SELECT count() FROM traces").result_rows
        client.close()
        return float(size_bytes) / max(int(rows), 1)

    def drain(self) -> None:
        """Until everybody has read nearly all that there is."""
        deadline_s = time.monotonic() + PATIENCE_S
        while any(lag.records > 200 for lag in self.lags().values()) and time.monotonic() < deadline_s:
            time.sleep(DRAINED_S)

    @contextmanager
    def load(self, rate_per_s: int) -> Iterator[subprocess.Popen[bytes]]:
        """So many traces a second, from a process of their own; it says how many on its standard output."""
        job = {
            "bootstrap": str(self.settings.need_kafka()),
            "topic": self.settings.topics("traces"),
            "rate_per_s": rate_per_s,
            "experiments": list(self.experiments),
        }
        command, begin = [sys.executable, "-m", "bench.load", json.dumps(job)], self.lags()["intake"].end
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            try:
                while self.lags()["intake"].end == begin and process.poll() is None:
                    time.sleep(POLL_S)
                time.sleep(WARM_S)
                yield process
            finally:
                assert process.stdin is not None
                process.stdin.close()
                process.wait(PATIENCE_S)

    def window(self, rate_per_s: int, seconds: float) -> Window:
        """The traces counted are those that the broker has."""
        with self.load(rate_per_s) as producer:
            before, bytes_before = self.lags(), self.bytes()
            began, began_s = self.cpu_s() | {"producer": cpu_s(producer.pid)}, time.monotonic()
            time.sleep(seconds)
            ended, after = self.cpu_s() | {"producer": cpu_s(producer.pid)}, self.lags()
            took_s, bytes_after = time.monotonic() - began_s, self.bytes()
        return Window(
            rate_per_s=rate_per_s,
            seconds=took_s,
            traces=after["intake"].end - before["intake"].end,
            cpu_s={name: ended[name] - began[name] for name in ended},
            behind_s={role: _behind(before[role], after[role], took_s) for role in FOLLOWED},
            bytes={topic: size - bytes_before.get(topic, 0) for topic, size in bytes_after.items()},
        )

    def require_running(self) -> None:
        """Raises SystemExit where a run has ended, for its traces are not judged any more."""
        view = RegistryView(self.settings.need_kafka(), self.settings.topics("registry")).start()
        ended = sorted(entry.experiment for entry in view.entries() if entry.lifecycle != "running")
        view.stop()
        if ended:
            raise SystemExit(f"not running any more: {', '.join(ended[:5])}; what was measured is not their judging")


def _behind(before: Lag, after: Lag, seconds: float) -> tuple[float, float]:
    a_second = max((after.end - before.end) / seconds, 1e-9)
    return before.records / a_second, after.records / a_second


@contextmanager
def running(home: Path, experiments: int, roles: Sequence[str] = ROLES, **settings: object) -> Iterator[Running]:
    """So many experiments with every kind of rule.

    roles     a process for each; one that is named twice has two
    settings  that differ from the defaults
    """
    with ExitStack() as parts:
        kafka = parts.enter_context(EmbeddedKafka(home / "kafka"))
        clickhouse = parts.enter_context(EmbeddedClickHouse(home / "clickhouse"))
        given = load(home=home, kafka=kafka.bootstrap, clickhouse_url=clickhouse.url, log_level="WARNING", **settings)
        groups = tuple((role,) for role in roles)
        stack = parts.enter_context(Stack(given, lambda line: None, roles=groups, controller=False))
        names = [f"hot-{number}" for number in range(experiments)]
        admin = AdminClient({"bootstrap.servers": str(stack.settings.need_kafka())})
        found = Running(stack.settings, stack, kafka, clickhouse, names, admin)
        _begin(stack.settings, names)
        yield found


def _begin(settings: Settings, names: Sequence[str]) -> None:
    """All at once: one after the other would take a second each."""
    view = RegistryView(settings.need_kafka(), settings.topics("registry")).start()
    appender = Appender(settings.need_kafka())
    for action, lifecycle in (("register", ("registered", "approved")), ("start", ("running",))):
        for name in names:
            text = SPEC.replace("name: checkout", f"name: {name}").replace("flag: checkout", f"flag: {name}")
            spec = text if action == "register" else None
            request = asking.request_of(action, name, "to be measured", spec=spec)
            appender.append(
                settings.topics("experiments"), records.encode("request", request), key=name.encode(), headers=[]
            )
        appender.flush()
        _wait(view, len(names), lifecycle)
    view.stop()


def _wait(view: RegistryView, wanted: int, lifecycle: Sequence[str]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while sum(entry.lifecycle in lifecycle for entry in view.entries()) < wanted:
        if time.monotonic() > deadline_s:
            raise SystemExit(f"not all of {wanted} experiments are {' or '.join(lifecycle)} after {PATIENCE_S:.0f} s")
        time.sleep(POLL_S)
