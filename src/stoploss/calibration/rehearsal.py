"""One rehearsal: an experiment on given requests, from its start to its first stop or to the end of the requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stoploss.calibration.chance import keyed, uniform
from stoploss.calibration.ledger_in_memory import LedgerInMemory, breaches
from stoploss.calibration.requests import MICROS_PER_HOUR, IntArray, Requests, Stamp, projected
from stoploss.commands import Micros
from stoploss.intake.rows import build_blocks
from stoploss.lifecycle import LIVE, Lifecycle
from stoploss.outputs import CommandOutput, Output
from stoploss.rules.verdict import Outcome

SECOND = 1_000_000
HOLD, NOTHING = "hold", "none"
ARMS = (False, True)


@dataclass(frozen=True, slots=True)
class Plot:
    """How a rehearsal is played.

    text          the experiment's YAML
    exposure      share of the units that the treatment serves, in (0, 1]
    seed          of who is assigned to which variant
    look_every_s  seconds of traffic in one block of evidence: everybody is judged at each
    ticks_every   blocks between ticks, at which segments are judged and numbers are published
    harmed        metric columns of the treatment, for all requests as if it had served them; empty: A/A
    """

    text: str
    exposure: float
    seed: int
    look_every_s: int = 60
    ticks_every: int = 1
    harmed: Mapping[str, IntArray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alarm:
    """A breach, and what the judge did about it by itself.

    rule, stream  the rule's key and the stream within it: "guardrail[0]", "everybody"
    action        a command's action, "hold", or "none"
    segment       whether it speaks of one segment value alone
    hours         since the first request
    requests, treated, units  seen until then: requests, those of the treatment, distinct units
    """

    rule: str
    stream: str
    metric: str | None
    action: str
    segment: bool
    hours: float
    requests: int
    treated: int
    units: int


@dataclass(frozen=True, slots=True)
class Ended:
    """How a rehearsal ended.

    treated_if_unstopped  requests that the treatment would have served without any stop
    """

    alarms: tuple[Alarm, ...]
    requests: int
    treated_if_unstopped: int


def rehearse(requests: Requests, plot: Plot) -> Ended:
    """Plays the requests to the judge, who stops the treatment as it would in production."""
    return _Rehearsal(requests, plot).play()


class _Rehearsal:
    def __init__(self, requests: Requests, plot: Plot) -> None:
        self.requests, self.plot = requests, plot
        self.began = int(requests.at[0]) - int(requests.at[0]) % SECOND
        self.ledger = LedgerInMemory(plot.text, self.began, plot.exposure)
        self.seat = uniform(keyed(requests.unit, plot.seed))
        self.quiet_since: dict[bool, Micros] = dict.fromkeys(ARMS, self.began)
        self.alarms: list[Alarm] = []
        self.known: set[str] = set()
        self.treated = 0

    def play(self) -> Ended:
        for number, part in enumerate(self._looks(), 1):
            self._look(part, tick=number % self.plot.ticks_every == 0)
            if self.ledger.judged.lifecycle not in LIVE:
                break
        unstopped = int(np.count_nonzero(self.seat < self.plot.exposure))
        return Ended(tuple(self.alarms), len(self.requests), unstopped)

    def _looks(self) -> Iterator[slice]:
        """Stretches of requests between one look and the next; one may be empty."""
        at, every = self.requests.at, self.plot.look_every_s * SECOND
        edges = np.arange(self.began + every, int(at[-1]) + every + 1, every)
        stops = np.searchsorted(at, edges, side="left").tolist()
        for edge, start, stop in zip(edges.tolist(), [0, *stops], stops, strict=False):
            self.ledger.at = edge
            yield slice(start, stop)

    def _look(self, part: slice, *, tick: bool) -> None:
        judged = self.ledger.judged
        arm = self.seat[part] < judged.desired.exposure
        self.treated += int(np.count_nonzero(arm))
        self._fall_silent(part, arm)
        if arm.size:
            stamp, spec = Stamp(judged.run, judged.epoch), self.ledger.experiment
            for block in build_blocks(projected(self.requests, part, arm, stamp, spec, self.plot.harmed)):
                self._hear(self.ledger.append(block), part)
        if tick and judged.lifecycle in LIVE:
            self._hear(self.ledger.tick(), part)

    def _fall_silent(self, part: slice, arm: npt.NDArray[np.bool_]) -> None:
        """Silence is counted in ticks of a second: where an arm is quiet for long enough, it gets that many of them."""
        silence = self.ledger.experiment.spec.health.silence
        if silence is None:
            return
        at = self.requests.at[part]
        for side in ARMS:
            mine = at[arm == side]
            heard = int(mine[0]) if mine.size else self.ledger.at
            if heard - self.quiet_since[side] >= silence.after * SECOND:
                self.quiet_since[side] = self.ledger.at
                for _ in range(silence.after):
                    self._hear(self.ledger.tick(), part)
            if mine.size:
                self.quiet_since[side] = int(mine[-1])

    def _hear(self, out: list[Output], part: slice) -> None:
        """Notes the breaches that a ledger entry led to, in the order in which they were said."""
        streams = [stream for stream in self._breached() if stream not in self.known]
        self.known = set(self._breached())
        ordered = _actions(out)
        holds = self.ledger.judged.lifecycle == Lifecycle.HOLDING
        for stream, (entry, finding) in zip(streams, breaches(out), strict=True):
            rule, _, name = stream.partition("/")
            action = ordered.get(entry.entry_id, HOLD if holds else NOTHING)
            segment = finding.evidence.segment is not None
            self.alarms.append(Alarm(rule, name, finding.evidence.metric, action, segment, *self._so_far(part)))

    def _breached(self) -> list[str]:
        """Streams in breach, in the order in which their rules are judged."""
        judged = self.ledger.judged
        place = {rule.key: index for index, rule in enumerate(judged.rules)}
        found = [stream for stream, said in judged.current.verdicts.items() if said.startswith(Outcome.BREACH)]
        return sorted(found, key=lambda stream: place[stream.partition("/")[0]])

    def _so_far(self, part: slice) -> tuple[float, int, int, int]:
        hours = (self.ledger.at - self.began) / MICROS_PER_HOUR
        return hours, part.stop, self.treated, int(np.unique(self.requests.unit[: part.stop]).size)


def _actions(out: list[Output]) -> dict[str, str]:
    """The judge's own commands by the journal entry that they rest on."""
    commands = [output.command for output in out if isinstance(output, CommandOutput)]
    return {ident: str(c.action) for c in commands if c.evidence is not None for ident in c.evidence.journal_ids}
