"""An installation with two experiments in running traffic: what a fault is put into, and judged by afterwards."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from confluent_kafka import TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    ResourceType,
)

from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.settings import Settings
from streams.admin import Admin
from streams.reading import ends, reader
from tests.faults.broker import Broker
from tests.faults.crew import Crew
from tests.faults.measured import STOPPED, Ending, Measured
from tests.faults.proxy import Proxy
from tests.faults.sender import BARE, Job
from tests.faults.service import Service
from tests.installation import (
    Installation,
    committed,
    create_installation_keys,
    group_of,
    messages,
    registry_of,
    settings_of,
)
from tests.timelines import SPEC, spec

HARMED, CALM = "harmed", "calm"
GUARDED = """
segments: [tenant]
guardrails:
  - {metric: error_rate, direction: lower, margin: {relative: 0.25}, alpha: 0.01, action: rollback}
  - {metric: latency_ms, direction: lower, margin: {relative: 0.50}, transform: exceedance, action: rollback}
"""
GATE = "\ngates: [guardrail_bypassed]"
"""Of the harmed experiment alone, for both get the trace that trips it."""
ROLES: dict[str, tuple[str, ...]] = {
    "intake": ("intake",),
    "judge": ("judge",),
    "others": ("registrar", "courier"),
}
PATIENCE_S = 240.0
POLL_S = 0.2


class Stage:
    """Everything runs when `staged` gives it; `verdict` ends the traffic and asks the verifier."""

    def __init__(self, broker: Broker, installation: Installation, clickhouse: EmbeddedClickHouse | None) -> None:
        self.broker, self.installation, self.clickhouse = broker, installation, clickhouse
        self.settings = installation.settings
        self.crew = Crew(self.settings)
        self.admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
        self.measured = Measured()
        self.services: list[Service] = []
        self._logs: list[tuple[str, dict[str, str]]] = []

    # ---- the beginning -------------------------------------------------------------------------

    def begin(self, roles: dict[str, tuple[str, ...]], texts: dict[str, str], bends: dict[str, str]) -> None:
        """Intake last, so that it knows the experiments from its first trace on."""
        for name, workers in roles.items():
            if "intake" not in workers:
                self.crew.start(name, "worker", *workers, bend=bends.get(name))
        self.controller("controller")
        for experiment, text in texts.items():
            self.installation.ask("register", experiment, spec=text)
            self.installation.ask("start", experiment, exposure=0.5)
        for name, workers in roles.items():
            if "intake" in workers:
                self.crew.start(name, "worker", *workers, bend=bends.get(name))
        self.wait(lambda: all(self.flag(name).get("run") == 1 for name in texts))

    def controller(self, name: str, bend: str | None = None) -> None:
        self.crew.start(name, "controller", "--file", str(self.flag_file), "--instance", name, bend=bend)

    def serve(self, experiments: Sequence[str] = (HARMED, CALM), **more: Any) -> Service:
        """Traffic from now on, by one more sender."""
        log = self.settings.home / f"sent-{len(self._logs)}.log"
        topics = {"topic": self.settings.topics("traces"), "outcomes_topic": self.settings.topics("outcomes")}
        told = {"flag_file": str(self.flag_file), "log": str(log), "experiments": list(experiments), **topics, **more}
        service = Service(Job(bootstrap=self.broker.bootstrap, **told))
        self._logs.append((str(log), {name: self.uuid(name) for name in ("traces", "outcomes")}))
        self.services.append(service)
        return service

    def uuid(self, name: str) -> str:
        """Of a topic, as it is now."""
        topic = self.settings.topics(name)
        return Admin(self.broker.bootstrap).uuids([topic])[topic]

    # ---- what stands ---------------------------------------------------------------------------

    @property
    def service(self) -> Service:
        return self.services[-1]

    @property
    def flag_file(self) -> Path:
        return self.installation.flag_file

    def flag(self, experiment: str) -> dict[str, Any]:
        """What the flag file says of an experiment; empty where it says nothing."""
        if not self.flag_file.exists():
            return {}
        flags = json.loads(self.flag_file.read_text())["flags"]
        return dict(flags.get(experiment, {}).get("metadata", {}))

    def lifecycle(self, experiment: str) -> str:
        entry = registry_of(self.settings, experiment)
        return entry.lifecycle if entry is not None else ""

    def is_in(self, experiment: str, lifecycle: str) -> bool:
        return self.lifecycle(experiment) == lifecycle

    def ends(self, topic: str) -> dict[int, int]:
        consumer = reader(self.broker.bootstrap)
        try:
            return {at.partition: at.offset for at in ends(consumer, self.settings.topics(topic))}
        finally:
            consumer.close()

    def configure(self, topic: str, **settings: object) -> None:
        """Settings of a topic; None: as they were by default."""
        entries = [_entry(name.replace("_", "."), value) for name, value in settings.items()]
        resource = ConfigResource(ResourceType.TOPIC, self.settings.topics(topic), incremental_configs=entries)
        for future in self.admin.incremental_alter_configs([resource]).values():
            future.result(PATIENCE_S)
        # The controller has taken them; the broker obeys once it has read what the controller wrote.
        self.wait(functools.partial(self._obeys, resource, settings), what=f"the broker knows {settings} of {topic}")

    def _obeys(self, resource: ConfigResource, settings: dict[str, object]) -> bool:
        (described,) = self.admin.describe_configs([ConfigResource(resource.restype, resource.name)]).values()
        known = described.result(PATIENCE_S)
        return all(_is_set(known[name.replace("_", ".")], value) for name, value in settings.items())

    def cut_off(self, topic: str, offsets: dict[int, int]) -> None:
        """Deletes what stands before these offsets, as retention does."""
        name = self.settings.topics(topic)
        wanted = [TopicPartition(name, partition, offset) for partition, offset in offsets.items()]
        for future in self.admin.delete_records(wanted).values():
            future.result(PATIENCE_S)

    # ---- time ----------------------------------------------------------------------------------

    def wait(
        self, until: Callable[[], object], timeout_s: float = PATIENCE_S, what: str = "what is waited for"
    ) -> float:
        """Seconds that it took; raises AssertionError where it does not come true."""
        began_s = time.monotonic()
        while not until():
            if time.monotonic() - began_s > timeout_s:
                raise AssertionError(f"{what}: not within {timeout_s:.0f} s; {self.crew.last_words()}")
            time.sleep(POLL_S)
        return time.monotonic() - began_s

    def lasts(self, seconds: float) -> None:
        """The fault stands for so long."""
        time.sleep(seconds)

    def recovered(self, since_s: float | None = None) -> float:
        """Waits until all that was sent by now is judged; seconds since the fault ended."""
        since_s = time.monotonic() if since_s is None else since_s
        self.wait(self.caught_up(), what="all that was sent is judged")
        took_s = time.monotonic() - since_s
        self.measured.times += 1
        self.measured.recoveries_s.append(took_s)
        return took_s

    def caught_up(self) -> Callable[[], bool]:
        """Whether intake and joiner have read what was sent by now, and the judge the ledger as it was then."""
        sent, ledger = self._sent(), dict[int, int]()

        def caught_up() -> bool:
            if not ledger:
                if not all(_at_least(committed(self.settings, *reader), ends) for reader, ends in sent.items()):
                    return False
                ledger.update(self.ends("ledger"))
            return _at_least(committed(self.settings, "judge", "ledger"), ledger)

        return caught_up

    def _sent(self) -> dict[tuple[str, str], dict[int, int]]:
        """By role and topic: where that ends now. Behind the last outcome that came back there are markers."""
        sent = {("intake", "traces"): self.ends("traces")}
        if any("joiner" in member.arguments for member in self.crew.members.values()):
            sent["joiner", "outcomes"] = self.ends("outcomes")
            sent["joiner", "outcomes_resolved"] = self._behind_last("outcomes_resolved")
        return sent

    def _behind_last(self, topic: str) -> dict[int, int]:
        return {m.partition() or 0: (m.offset() or 0) + 1 for m in messages(self.settings, topic)}

    @property
    def bare_sent(self) -> int:
        """Outcomes without context that the broker has acknowledged."""
        return sum(Path(log).read_text().count(f" {BARE}\n") for log, _ in self._logs)

    def _bare_are_back(self) -> bool:
        return len(messages(self.settings, "outcomes_resolved")) >= self.bare_sent

    def stop_by_leak(self, timeout_s: float = PATIENCE_S) -> float:
        """One trace trips a gate; seconds from its acknowledgement until the flag is off."""
        self.service.tell("leak")
        return self.wait(lambda: self.flag(HARMED).get("exposure") == 0, timeout_s)

    # ---- the end -------------------------------------------------------------------------------

    def verdict(self, harmed: Ending = STOPPED, calm: Ending | None = None, *, ledger_whole: bool = True) -> Measured:
        """Traffic ends first, then everything that writes facts once all of it is judged, the judge last.

        ledger_whole  false: some of it was deleted, so that neither evidence nor fold can be told from it
        """
        wanted = {HARMED: harmed, CALM: calm or Ending()}
        for name, ending in wanted.items():
            self.wait(functools.partial(self.is_in, name, ending.lifecycle), what=f"{name} is {ending.lifecycle}")
        for service in self.services:
            service.end()
        self.wait(self._bare_are_back, what="every bare outcome has come back")
        self.wait(self.caught_up(), what="all that was sent is judged")
        self._end_all()
        self._take(self._verified(wanted, ledger_whole))
        return self.measured

    def _end_all(self) -> None:
        """Who writes facts, then the judge, then the recorder once all of it is recorded."""
        rank = {"judge": 1, "recorder": 2}
        by_rank = {name: max(rank.get(word, 0) for word in one.arguments) for name, one in self.crew.members.items()}
        for name in sorted(by_rank, key=lambda name: by_rank[name]):
            if by_rank[name] == 2:
                self._wait_until_recorded()
            self.crew.stop(name)

    def _wait_until_recorded(self) -> None:
        for topic in ("traces_clean", "ledger", "journal"):
            recorded = functools.partial(self._has_recorded, topic, self._behind_last(topic))
            self.wait(recorded, what=f"{topic} is recorded")

    def _has_recorded(self, topic: str, last: dict[int, int]) -> bool:
        return _at_least(committed(self.settings, "recorder", topic), last)

    def _verified(self, wanted: dict[str, Ending], ledger_whole: bool) -> dict[str, Any]:
        told = {
            "bootstrap": self.broker.bootstrap,
            "prefix": self.settings.topic_prefix,
            "logs": self._logs,
            "experiments": {name: asdict(ending) for name, ending in wanted.items()},
            "flag_file": str(self.flag_file),
            "public_key": str(self.settings.keys / "monitor.pub"),
            "judge_group": group_of(self.settings, "judge"),
            "resolved": self.uuid("outcomes_resolved"),
            "ledger_whole": ledger_whole,
            "clickhouse": (self.clickhouse.url, self.settings.clickhouse_database) if self.clickhouse else None,
        }
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.verifier", json.dumps(told)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"the verifier could not finish: {done.stderr[-3_000:]}")
        return dict(json.loads(done.stdout))

    def _take(self, found: dict[str, Any]) -> None:
        measured = self.measured
        measured.lost += found["lost"]
        measured.doubled += found["doubled"]
        measured.wrong += found["wrong"]
        counted = [f"{found[what]} {what}" for what in ("traces", "outcomes", "entries", "commands") if found[what]]
        measured.notes.append(", ".join(counted))
        measured.demand(found["traces"] > 0 and found["entries"] > 0, "nothing happened that could have gone wrong")

    def close(self) -> None:
        for service in self.services:
            service.close()
        self.crew.close()


def _entry(name: str, value: object) -> ConfigEntry:
    operation = AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET
    return ConfigEntry(name, None if value is None else str(value), incremental_operation=operation)


def _is_set(known: ConfigEntry, value: object) -> bool:
    """Whether a setting of a topic has the value; None: it has none of its own."""
    own = ConfigSource(known.source) is ConfigSource.DYNAMIC_TOPIC_CONFIG
    return not own if value is None else own and known.value == str(value)


def _at_least(found: dict[int, int], wanted: dict[int, int]) -> bool:
    return all(found[partition] >= offset or offset == 0 for partition, offset in wanted.items())


def spec_of(experiment: str, extra: str = "") -> str:
    text = SPEC.replace("name: checkout,", f"name: {experiment},")
    text = text.replace("flag: checkout,", f"flag: {experiment}, controllers: [flagd],")
    return spec(GUARDED + (GATE if experiment == HARMED else "") + extra, text)


@contextmanager
def staged(
    broker: Broker,
    home: Path,
    *,
    roles: dict[str, tuple[str, ...]] = ROLES,
    bends: dict[str, str] | None = None,
    clickhouse: EmbeddedClickHouse | None = None,
    recorded_through: Proxy | None = None,
    extra: str = "",
    service: dict[str, Any] | None = None,
    **more: object,
) -> Iterator[Stage]:
    """An installation of its own on the broker, with traffic.

    bends             by role, what is wrong with it from its start on
    recorded_through  proxy between the recorder and ClickHouse
    extra             further lines of both specs; service: of the sender's job; more: settings
    """
    if clickhouse is not None:
        port = recorded_through.port if recorded_through is not None else clickhouse.port
        more["clickhouse_url"] = f"http://127.0.0.1:{port}"
    settings: Settings = settings_of(broker, home, log_level="INFO", **more)
    Admin(settings.need_kafka()).create(settings)
    stage = Stage(broker, Installation(settings, create_installation_keys(settings)), clickhouse)
    try:
        stage.begin(roles, {name: spec_of(name, extra) for name in (HARMED, CALM)}, bends or {})
        stage.serve(**(service or {}))
        yield stage
    finally:
        stage.close()
