"""What a judge does in a run, entry by entry: which rule breached, when, and what followed from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache

from stoploss.calibration.ledger_in_memory import breaches
from stoploss.calibration.promises import promises
from stoploss.commands import Action, Command, Micros, Segment
from stoploss.journal import Finding, JournalEntry
from stoploss.lifecycle import AFTER, Lifecycle
from stoploss.outputs import CommandOutput, JournalOutput, Output
from stoploss.rules.verdict import Outcome
from stoploss.spec.file import parsed
from stoploss.state import ExperimentState
from stoploss.suppression import without_numbers

HOLD, NOTHING = "hold", "none"
ENDS = frozenset(str(action) for action in AFTER)
STOPS = ENDS | {str(Action.STOP_SEGMENT)}
LOWERS = STOPS | {str(Action.THROTTLE)}
PERSON = "a person"


@dataclass(frozen=True, slots=True)
class Act:
    """A breach and what was done about it, or what a person ordered.

    rule, stream  what is watched, in words, and the stream within it; "a person" and ""
    action        a command's action, "hold", or "none"
    segment       the segment value that the action is about; None: everybody
    """

    rule: str
    stream: str
    action: str
    segment: Segment | None
    at: Micros
    sentence: str


@dataclass(slots=True)
class Side:
    """One of two judges: what it has done in the run that is under way. `begin` it with each run."""

    known: set[str] = field(default_factory=set)
    acts: list[Act] = field(default_factory=list)

    def begin(self) -> None:
        self.known, self.acts = set(), []

    def note(self, state: ExperimentState, outputs: list[Output], at: Micros) -> None:
        """Adds what followed from a ledger entry."""
        ordered = [output.command for output in outputs if isinstance(output, CommandOutput)]
        followed: list[Command] = []
        for rule, stream, entry, finding in self._breaches(state, outputs):
            command = next((one for one in ordered if _rests_on(one, entry)), None)
            otherwise = HOLD if state.lifecycle == Lifecycle.HOLDING else NOTHING
            action = otherwise if command is None else str(command.action)
            segment = finding.evidence.segment if action == Action.STOP_SEGMENT else None
            self.acts.append(Act(watched(state.spec)[rule], stream, action, segment, at, _told(finding)))
            followed += [command] if command else []
        self.acts += (_of_no_rule(one, at) for one in ordered if str(one.action) in LOWERS and one not in followed)

    def _breaches(
        self, state: ExperimentState, outputs: list[Output]
    ) -> Iterator[tuple[str, str, JournalEntry, Finding]]:
        """Rule, stream and finding. Each stream newly in breach has said one finding, in the order of the rules.

        Findings of no rule are passed over: what is served after a stop says how it was obeyed, not how it was judged.
        """
        if not any(isinstance(one, JournalOutput) and isinstance(one.entry.conclusion, Finding) for one in outputs):
            return
        breached = _breached(state)
        fresh = deque(stream.partition("/") for stream in breached if stream not in self.known)
        self.known = set(breached)
        kinds = {rule.key: rule.kind for rule in state.rules}
        for entry, finding in breaches(outputs):
            if fresh and kinds[fresh[0][0]] == finding.evidence.rule:
                rule, _, stream = fresh.popleft()
                yield rule, stream, entry, finding


def _told(finding: Finding) -> str:
    """Of a segment without its numbers: which of them people may read is not known here."""
    evidence = finding.evidence
    if evidence.segment is None:
        return finding.sentence
    return without_numbers(evidence.metric, evidence.segment, finding.verdict)


def ended_at(acts: Iterable[Act]) -> Micros | None:
    """When the treatment was taken from everybody; None: it was not."""
    return next((act.at for act in acts if act.action in ENDS), None)


@cache
def watched(spec: str) -> dict[str, str]:
    """What each rule of a spec watches, by its key; of two that watch the same, the later one is numbered."""
    names: dict[str, str] = {}
    for promise in promises(parsed(spec)):
        twins = sum(1 for name in names.values() if name.split(" #")[0] == promise.watches)
        names[promise.rule] = f"{promise.watches} #{twins + 1}" if twins else promise.watches
    return names


def _rests_on(command: Command, entry: JournalEntry) -> bool:
    return command.evidence is not None and entry.entry_id in command.evidence.journal_ids


def _of_no_rule(command: Command, at: Micros) -> Act:
    """What a person ordered, or the monitor for another reason than a rule's breach."""
    rule = PERSON if command.evidence is None else command.evidence.rule
    return Act(rule, "", str(command.action), None, at, command.reason)


def _breached(state: ExperimentState) -> list[str]:
    """Streams in breach, in the order in which their rules are judged."""
    place = {rule.key: index for index, rule in enumerate(state.rules)}
    found = [stream for stream, said in state.current.verdicts.items() if said.startswith(Outcome.BREACH)]
    return sorted(found, key=lambda stream: place[stream.partition("/")[0]])
