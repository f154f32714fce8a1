"""Ledgers for tests, as short timelines: what people asked, what traces arrived, how time passed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from textwrap import dedent
from typing import Any, TypeVar

import numpy as np

from stoploss import journal, measures, registry, snapshot
from stoploss.commands import Command
from stoploss.experiment import Experiment
from stoploss.folding import settle
from stoploss.journal import Conclusion, Finding
from stoploss.ledger import (
    EDITION,
    AckReceived,
    Entry,
    EvidenceBlock,
    Fact,
    MetricColumn,
    Request,
    SegmentColumn,
    Source,
    SourceStatus,
    Tick,
)
from stoploss.measures import Measure
from stoploss.metrics import MISSING
from stoploss.monitor import step
from stoploss.outputs import CommandOutput, JournalOutput, MeasureOutput, Output, RegistryOutput
from stoploss.registry import RegistryEntry
from stoploss.spec.file import parse_experiment
from stoploss.state import ExperimentState, PartitionState
from stoploss.wire import records

C = TypeVar("C", bound=Conclusion)
START = 1_790_000_000_000_000
SECRET = b"k" * 32
SOURCE = Source("stoploss.traces", "uuid-of-traces", 0)

SPEC = """
apiVersion: stoploss/v1alpha1
kind: Experiment
metadata: {name: checkout, owner: search-team}
spec:
  hypothesis: The smaller model is as good.
  unit: model
  success: {metric: resolved}
  assignment: {flag: checkout, randomisationUnit: user, control: current}
  variants:
    - {name: current, tools: [{name: search, scopes: [catalog.read]}]}
    - {name: small, tools: [{name: search, scopes: [catalog.read]}]}
  rollback: {to: current}
  ramp: {stages: [0.5]}
"""

# One rule of every kind, two segment dimensions, both kinds of guardrail.
EVERY_RULE = """
segments: [tenant, language, "experiment:ranking"]
objective:
  quality: {score: resolved, closesAfter: 8s}
  risk: [{event: refusal, weight: 1}, {event: complaint, weight: 5}]
  lambdaCost: 0.2
  lambdaRisk: 1
guardrails:
  - {metric: error_rate, direction: lower, margin: {relative: 0.10}, alpha: 0.01, action: rollback}
  - {metric: latency_ms, direction: lower, margin: {relative: 0.15}, transform: log, action: pause}
  - {metric: latency_ms, direction: lower, margin: {relative: 0.50}, transform: exceedance, action: pause}
gates: [undeclared_tool]
drift: [{metric: output_tokens}, {mix: language, action: none}]
budgets:
  - {metric: cost_usd, limit: 5000, period: 24h, actions: [{burn: 6, do: throttle, to: 0.01}, {burn: 14.4, do: stop}]}
  - {slo: {metric: latency_ms, threshold: 20000, target: 0.99}, period: 30d, actions: [{burn: 14.4, do: pause}]}
health:
  declared: {max: 0.01}
  silence: {after: 2m, do: pause}
  coverage: {score: helpfulness, min: 0.8, within: 10m, maxLag: 5m}
  judgeReference: {score: regrade}
  audit: {score: judge-agrees, min: 0.5}
  alignment: {proxy: helpfulness, outcome: resolved}
  unresolved: {max: 0.05}
"""


def spec(extra: str = "", text: str = SPEC) -> str:
    """The smallest spec with further lines under `spec:`."""
    return text + "".join(f"  {line}\n" for line in dedent(extra).strip().splitlines())


@dataclass
class Traces:
    """Columns of some traces, to be cut into blocks."""

    variant: np.ndarray
    unit: np.ndarray
    metrics: dict[str, np.ndarray]
    segments: dict[str, list[str]] = field(default_factory=dict)
    gates: np.ndarray | None = None
    details: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return int(self.variant.size)


def traces(
    n: int,
    *,
    seed: int,
    share: float = 0.5,
    users: int = 1_000,
    latency_ms: tuple[float, float] = (500.0, 500.0),
    error_rate: tuple[float, float] = (0.02, 0.02),
    tokens: tuple[int, int] = (225, 225),
    cost_usd: float = 0.005,
    population: int = 0,
    **segments: str,
) -> Traces:
    """Seeded traffic of both arms; pairs are (control, treatment). The users of a population come back."""
    rng = np.random.default_rng(seed)
    user = rng.integers(0, users, n)
    bits = np.random.default_rng(99 + 1_000 * population).integers(0, 2**64, users, dtype=np.uint64)
    treated = np.random.default_rng(98 + 1_000 * population).random(users) < share
    arm = treated[user].astype(np.uint8)
    latency = np.array(latency_ms)[arm] * rng.lognormal(0, 0.5, n)
    errors = rng.random(n) < np.array(error_rate)[arm]
    columns = {
        "latency_ms": (latency * 1_000).astype(np.int64),
        "latency_ms:log": np.rint(np.log(latency) * 1_000_000).astype(np.int64),
        "error_rate": errors.astype(np.int64),
        "output_tokens": np.array(tokens)[arm] + rng.integers(-175, 175, n),
        "cost_usd": (rng.uniform(0.2, 1.8, n) * cost_usd * 1e9).astype(np.int64),
    }
    return Traces(arm, bits[user], columns, {name: [value] * n for name, value in segments.items()})


def with_gate(some: Traces, row: int, bit: int, detail: str = "output_text holds a card number") -> Traces:
    """The same traces, one of which trips a gate."""
    gates = np.zeros(some.rows, np.uint32) if some.gates is None else some.gates.copy()
    gates[row] |= np.uint32(1 << bit)
    return Traces(some.variant, some.unit, some.metrics, some.segments, gates, (*some.details, detail))


def tripping(arm: int = 1, n: int = 50, seed: int = 11) -> Traces:
    """Of which the first of that arm trips a gate."""
    some = traces(n, seed=seed)
    return with_gate(some, int((some.variant == arm).argmax()), 0)


class Timeline:
    """A ledger partition that is written and judged at once; time moves only by `seconds`."""

    def __init__(self, text: str = SPEC, state: PartitionState | None = None, *, edition: int | None = EDITION) -> None:
        """edition: of the requests; None: as a registrar wrote them before there were editions."""
        self.spec_text, self.edition = text, edition
        self.source = SOURCE
        self.experiment: Experiment = parse_experiment(text)
        self.state = state or PartitionState(0)
        self.at = START
        self.entries: list[Entry] = []
        self.outputs: list[Output] = []
        self._source_offset = count()
        self._request = count()

    def append(self, fact: Fact) -> list[Output]:
        entry = Entry(0, len(self.entries), self.at, fact)
        self.entries.append(entry)
        out = step(self.state, entry)
        self.outputs += out
        return out

    def ask(
        self,
        action: str,
        exposure: float | None = None,
        accepted: bool = True,
        by: str = "ada",
        reason: str = "",
        body: str | None = None,
    ) -> list[Output]:
        text = self.spec_text if action in ("register", "amend") else None
        request = Request(
            f"r{next(self._request)}",
            self.experiment.name,
            action,
            by,
            reason,
            self.at,
            text,
            exposure=exposure,
            partition=0,
            accepted=accepted,
            opinion="" if accepted else "not allowed here",
            body=body,
            edition=self.edition,
        )
        return self.append(request)

    def started(self, exposure: float | None = None) -> Timeline:
        self.ask("register")
        self.ask("start", exposure)
        for controller in self.experiment.spec.assignment.controllers:
            self.ack(controller)
        return self

    def ack(self, controller: str, status: str = "applied") -> list[Output]:
        command = self.commands[-1]
        return self.append(
            AckReceived(
                command.experiment,
                command.command_id,
                controller,
                "one",
                status,
                "",
                self.at,
                command.run,
                command.sequence,
                "s",
            )
        )

    def seconds(self, n: int, lag: int = 0) -> list[Output]:
        """Time passes: each second intake says how far it is (`lag` messages behind), and the judge ticks."""
        out = []
        for _ in range(n):
            self.at += 1_000_000
            out += self.status(lag)
            out += self.tick()
        return out

    def status(self, lag: int = 0, source: Source = SOURCE) -> list[Output]:
        return self.append(SourceStatus(source, 0, lag, 0, 0, 0, 0, 0, (), self.at))

    def tick(self) -> list[Output]:
        return self.append(Tick(0, "judge"))

    def traces(self, some: Traces, block_rows: int = 500, **changes: Any) -> list[Output]:
        out = []
        for block in self.blocks(some, block_rows, **changes):
            out += self.append(block)
        return out

    def blocks(self, some: Traces, block_rows: int = 500, **changes: Any) -> Iterator[EvidenceBlock]:
        first = [next(self._source_offset) for _ in range(some.rows)]
        offsets = np.array(first, np.int64)
        for start in range(0, some.rows, block_rows):
            yield self._block(some, np.arange(start, min(start + block_rows, some.rows)), offsets, changes)

    def _block(self, some: Traces, rows: np.ndarray, offsets: np.ndarray, changes: dict[str, Any]) -> EvidenceBlock:
        n = rows.size
        gates = np.zeros(some.rows, np.uint32) if some.gates is None else some.gates
        tripped = np.flatnonzero(gates)
        details = tuple(d for row, d in zip(tripped, some.details, strict=True) if row in rows)
        values: dict[str, Any] = {
            "experiment": self.experiment.name,
            "spec_hash": self.experiment.spec_hash,
            "rows": n,
            "outcomes": False,
            "sources": (self.source,),
            "source": np.zeros(n, np.uint8).tobytes(),
            "offset": offsets[rows].astype("<i8").tobytes(),
            "unit": some.unit[rows].astype("<u8").tobytes(),
            "trace": (offsets[rows].astype(np.uint64) + np.uint64(1 << 40)).astype("<u8").tobytes(),
            "variant": some.variant[rows].tobytes(),
            "at": np.full(n, self.at, "<i8").tobytes(),
            "start": np.full(n, self.at - 500_000, "<i8").tobytes(),
            "stamp_run": np.full(n, -1, "<i4").tobytes(),
            "stamp_epoch": np.full(n, -1, "<i4").tobytes(),
            "gates": gates[rows].astype("<u4").tobytes(),
            "gate_names": tuple(choice.gate for choice in self.experiment.gates),
            "gate_details": details,
            "segments": tuple(self._segment(name, some.segments[name], rows) for name in some.segments),
            "metrics": tuple(
                MetricColumn(name, "1", x[rows].astype("<i8").tobytes()) for name, x in some.metrics.items()
            ),
        }
        return EvidenceBlock(**{**values, **changes})

    def _segment(self, name: str, values: list[str], rows: np.ndarray) -> SegmentColumn:
        dictionary = tuple(dict.fromkeys(values[row] for row in rows))
        codes = np.array([dictionary.index(values[row]) for row in rows], "<u2")
        return SegmentColumn(name, dictionary, codes.tobytes())

    @property
    def commands(self) -> list[Command]:
        return [output.command for output in self.outputs if isinstance(output, CommandOutput)]

    @property
    def conclusions(self) -> list[Conclusion]:
        return [output.entry.conclusion for output in self.outputs if isinstance(output, JournalOutput)]

    @property
    def findings(self) -> list[Finding]:
        return [conclusion for conclusion in self.conclusions if isinstance(conclusion, Finding)]

    @property
    def breaches(self) -> list[Finding]:
        """Those of rules: these services serve on after a stop, which is a finding of its own."""
        return [f for f in self.findings if f.verdict == "breach" and f.evidence.rule != "after_stop"]

    @property
    def it(self) -> ExperimentState:
        """The state of the one experiment, with all its rows folded."""
        state = self.state.experiments[self.experiment.name]
        settle(state)
        return state

    def said(self, kind: type[C]) -> list[C]:
        """The conclusions of one kind, in order."""
        return [conclusion for conclusion in self.conclusions if isinstance(conclusion, kind)]

    def measures(self) -> list[Measure]:
        return [measures.decode(output.value) for output in self.outputs if isinstance(output, MeasureOutput)]

    def registry(self) -> list[RegistryEntry]:
        return [registry.decode(output.value) for output in self.outputs if isinstance(output, RegistryOutput)]

    @property
    def journal(self) -> list[bytes]:
        return [output.value for output in self.outputs if isinstance(output, JournalOutput)]


def actions(timeline: Timeline) -> list[str]:
    """What was ordered, in order."""
    return [str(command.action) for command in timeline.commands]


def run(text: str, parts: list[Traces], block_rows: int = 500) -> Timeline:
    """A started experiment after these traces, one part a second."""
    timeline = Timeline(text).started()
    for some in parts:
        timeline.seconds(1)
        timeline.traces(some, block_rows=block_rows)
    timeline.seconds(1)
    return timeline


def merged(*parts: Traces) -> Traces:
    """Traces of several origins, one after the other."""
    names = set().union(*(part.metrics for part in parts))
    dims = set().union(*(part.segments for part in parts))

    def column(name: str) -> np.ndarray:
        return np.concatenate([p.metrics.get(name, np.full(p.rows, MISSING, np.int64)) for p in parts])

    return Traces(
        np.concatenate([p.variant for p in parts]),
        np.concatenate([p.unit for p in parts]),
        {name: column(name) for name in sorted(names)},
        {name: [v for p in parts for v in p.segments.get(name, ["none"] * p.rows)] for name in sorted(dims)},
    )


def of_arm(some: Traces, arm: int) -> Traces:
    """The traces of one arm alone."""
    mine = np.flatnonzero(some.variant == arm)
    return Traces(
        some.variant[mine],
        some.unit[mine],
        {name: x[mine] for name, x in some.metrics.items()},
        {name: [values[i] for i in mine] for name, values in some.segments.items()},
    )


def refolded(entries: Iterable[Entry], state: PartitionState | None = None) -> list[Output]:
    """What the judge says of recorded entries, in a state of its own."""
    fresh = state or PartitionState(0)
    return [output for entry in entries for output in step(fresh, entry)]


def stored(state: PartitionState) -> bytes:
    """A snapshot, taken as the judge takes it."""
    for experiment in state.experiments.values():
        settle(experiment)
    return snapshot.dump(state, SECRET)


def bytes_of(outputs: Iterable[Output]) -> list[bytes]:
    """Everything that leaves the judge, as it would stand on its topics."""
    return [
        records.encode("command", output.command) if isinstance(output, CommandOutput) else output.value
        for output in outputs
    ]


def shuffled(some: Traces, seed: int) -> Traces:
    """The same traces in another order."""
    order = np.random.default_rng(seed).permutation(some.rows)
    return Traces(
        some.variant[order],
        some.unit[order],
        {name: x[order] for name, x in some.metrics.items()},
        {name: [values[i] for i in order] for name, values in some.segments.items()},
    )


def chain_holds(values: Iterable[bytes]) -> bool:
    """Every entry carries the hash of the one before it."""
    previous = journal.GENESIS
    for value in values:
        if journal.decode(value).previous != previous:
            return False
        previous = journal.hash_of(value)
    return True
