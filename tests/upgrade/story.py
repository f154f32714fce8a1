"""What happens in an upgrade: traffic that flows, workers that take each other's place, harm in two of the spans."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from stoploss.flags import FlagReader
from stoploss.settings import Settings
from tests.installation import Installation, Role, committed, messages, registry_of
from tests.sending import Place, Sender
from tests.timelines import SPEC

EARLY, LATE, STEADY = "stops-early", "stops-late", "goes-on"
CARD = "4111 1111 1111 1111"
RATE_PER_S = 40.0


def spec_of(name: str) -> str:
    text = SPEC.replace("name: checkout,", f"name: {name},")
    return text.replace("flag: checkout,", f"flag: {name}, controllers: [flagd],")


class Service(Sender):
    """Sends traces of those experiments that are exposed, by the flags of the moment.

    sent     by experiment and place: the variant
    leaking  an experiment whose next trace of the treatment holds a card number
    """

    def __init__(self, settings: Settings, flags: FlagReader) -> None:
        super().__init__(settings)
        self.flags = flags
        self.sent: dict[str, dict[Place, str]] = {name: {} for name in (EARLY, LATE, STEADY)}
        self.leaking: str | None = None

    def work(self) -> None:
        number = 0
        while not self.ends_within(1 / RATE_PER_S):
            number += 1
            for experiment in self.sent:
                self._send(experiment, number)

    def _send(self, experiment: str, number: int) -> None:
        unit = f"user-{number % 500}"
        assigned = self.flags.assign(experiment, "current", unit)
        leaks = self.leaking == experiment and assigned.variant == "small"
        stamp = {"experiment": experiment, "variant": assigned.variant, "run": assigned.run, "epoch": assigned.epoch}
        trace: dict[str, Any] = {
            "trace_id": f"{experiment}-{number}",
            "at": time.time_ns() // 1_000,
            "unit_id": unit,
            "latency_ms": 700.0,
            "assignments": [stamp],
        }
        if leaks:
            self.leaking, trace["output_text"] = None, f"I have charged {CARD}."
        variants, variant = self.sent[experiment], assigned.variant
        self.send(json.dumps(trace).encode(), lambda place: variants.update({place: variant}))


@dataclass
class Story:
    """What has happened, and what is left of it."""

    installation: Installation
    service: Service
    flags: FlagReader
    tree: Path
    workers: dict[str, Role] = field(default_factory=dict)
    judges: list[Role] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        return self.installation.settings

    def replace(self, name: str, tree: Path | None) -> None:
        """One worker ends in order, one of another version begins in its place and works."""
        if name in self.workers:
            assert self.workers[name].stop() == 0
        role = self.workers[name] = self.installation.worker(*name.split("+"), code=tree)
        if name == "judge":
            self.judges.append(role)
        topic = {"judge": "ledger", "intake": "traces", "registrar+courier": "experiments"}[name]
        before = committed(self.settings, name.partition("+")[0], topic)
        if topic != "experiments":
            self.installation.wait(lambda: committed(self.settings, name, topic) != before)

    def harm(self, experiment: str) -> None:
        """One trace of the treatment leaks; the experiment is stopped, and its flag gives everybody control."""
        self.service.leaking = experiment
        self.installation.wait(lambda: self.lifecycle(experiment) == "stopped")
        everybody = [f"user-{n}" for n in range(50)]
        self.installation.wait(
            lambda: {self.flags.assign(experiment, "", unit).variant for unit in everybody} == {"current"}
        )

    def lifecycle(self, experiment: str) -> str:
        entry = registry_of(self.settings, experiment)
        return entry.lifecycle if entry is not None else ""

    def at_rest(self) -> None:
        """Traffic first; then everything, once all of it is judged."""
        self.service.end()
        for role, topic, partitions in (("intake", "traces", 2), ("judge", "ledger", 2)):
            ends = {p: messages(self.settings, topic, p)[-1].offset() or 0 for p in range(partitions)}
            self.installation.wait(partial(self.has_done, role, topic, ends))
        self.installation.stop()

    def has_done(self, role: str, topic: str, ends: dict[int, int]) -> bool:
        found = committed(self.settings, role, topic)
        return all(found[partition] > end for partition, end in ends.items())


def happened(story: Story) -> None:
    story.service.start()
    story.harm(EARLY)
    for name in ("intake", "judge", "registrar+courier"):
        story.replace(name, story.tree)
    story.harm(LATE)
    for name in ("judge", "registrar+courier", "intake"):
        story.replace(name, None)
    story.at_rest()
