"""What must hold, whatever happens: looked at after each turn, and once more when all has settled.

The witness folds the ledger by itself, entry by entry as it grows, in a state that no crash touches. What the judge has
published must be the beginning of that. Everything else here is counted by hand from records, without the judge's code.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from stoploss import journal, ledger, registry
from stoploss.commands import Action, Command
from stoploss.control.messages import read_command
from stoploss.control.position import PositionFile
from stoploss.errors import WireError
from stoploss.intake import dead_letters
from stoploss.journal import JournalEntry, RequestHandled
from stoploss.ledger import Entry, EvidenceBlock, Request, SourceStatus
from stoploss.monitor import step
from stoploss.outputs import CommandOutput, JournalOutput
from stoploss.state import ExperimentState, PartitionState
from tests.simulation.broker import Stored
from tests.simulation.expected import Expected
from tests.simulation.fates import Fates
from tests.simulation.judged import Judged
from tests.simulation.roles import TOPICS, VERIFIER
from tests.simulation.services import Fate
from tests.simulation.told import Issued, Told, name_of

if TYPE_CHECKING:
    from tests.simulation.services import Place
    from tests.simulation.world import World

LATCHING = (Action.STOP, Action.ROLLBACK)
AGAIN = "sent before"


MOST_SAID = 8


class Violation(AssertionError):
    """Something that must hold does not."""


def in_a_line(wrong: Sequence[str]) -> str:
    """The first of what is wrong: a worker that cannot start says the same hundreds of times."""
    left = len(wrong) - MOST_SAID
    return "; ".join([*wrong[:MOST_SAID], *([f"and {left} more"] if left > 0 else [])])


class Witness:
    def __init__(self, world: World) -> None:
        self.world = world
        self.states = [PartitionState(partition) for partition in range(world.scenario.partitions)]
        self.judged = Judged(world, self.states)
        self.told: dict[str, Told] = defaultdict(lambda: Told(expected=Expected(world.scenario.climbs)))
        self.by_id: dict[str, Issued] = {}
        self.handled: set[str] = set()
        self.requests: set[str] = set()
        self.finding_ids: set[str] = set()
        self.standing: dict[tuple[str, str], Command] = {}
        self.wrong: list[str] = []
        self._new: list[tuple[int, Stored]] = []
        self._marks: dict[tuple[str, int], int] = {}
        self._read: dict[tuple[str, int], int] = defaultdict(int)
        self._done: dict[tuple[str, int], int] = {}
        self._refused: set[str] = set()
        self._dead: set[Place] = set()

    # ---- while it runs -------------------------------------------------------------------------------

    def look(self) -> None:
        """After each turn. Raises Violation with everything that is wrong."""
        self._fold()
        for record in self._committed("journal"):
            self._published(record)
        self._read_control()
        for record in self._committed("registry"):
            self._registered(record)
        self.wrong += self.judged.differ()
        if self.wrong:
            raise Violation(in_a_line(self.wrong))

    def must(self, holds: bool, what: str) -> None:
        if not holds:
            self.wrong.append(what)

    def _committed(self, name: str) -> list[Stored]:
        """What has come to stand on a topic since it was asked last, one partition after the other."""
        found: list[Stored] = []
        for log in self.world.broker.topics[TOPICS(name)].logs:
            at = name, log.partition
            if self._read[at] < log.end:
                more, self._read[at] = log.read(self._read[at], committed=True, most=1_000)
                found += more
        return found

    def ledger_grew(self, partition: int, record: Stored) -> None:
        self._new.append((partition, record))

    def experiments(self) -> Iterator[tuple[str, ExperimentState]]:
        for state in self.states:
            yield from state.experiments.items()

    def _fold(self) -> None:
        """The ledger as it is recorded, folded once and in order."""
        new, self._new = self._new, []
        for partition, record in new:
            state = self.states[partition]
            try:
                fact = ledger.decode(record.value)
                entry = Entry(partition, record.offset, record.timestamp_ms * 1_000, fact)
                outputs = step(state, entry, TOPICS("control"))
            except WireError:
                state.offset = record.offset
                continue
            self._count_by_hand(fact)
            for output in outputs:
                if isinstance(output, JournalOutput):
                    self.told[output.experiment].folded.append(output.value)
                    self._note(output.entry)
                elif isinstance(output, CommandOutput):
                    self._ordered(self.told[output.experiment], output.command)

    def _ordered(self, told: Told, command: Command) -> None:
        told.commands.append(command)
        by_ramp = command.evidence is not None and command.evidence.rule == "ramp"
        climbs = not by_ramp or told.expected.lifecycle == "running"
        self.must(climbs, f"{name_of(command)}: the ramp goes on, and it is {told.expected.lifecycle}")

    def _note(self, entry: JournalEntry) -> None:
        self.finding_ids.add(entry.entry_id)
        if isinstance(entry.conclusion, RequestHandled):
            self.must(entry.conclusion.request_id not in self.handled, f"request {entry.conclusion.request_id} twice")
            self.handled.add(entry.conclusion.request_id)

    # ---- counted by hand -----------------------------------------------------------------------------

    def _count_by_hand(self, fact: ledger.Fact) -> None:
        if isinstance(fact, Request) and fact.request_id not in self.requests:
            expected = self.told[fact.experiment].expected
            if expected.lifecycle is None and not fact.accepted:
                self._refused.add(fact.request_id)  # the judge knows nothing of it, and hears it anew
                return
            self.requests.add(fact.request_id)
            expected.asked(fact.action, bool(fact.accepted))
        elif isinstance(fact, EvidenceBlock):
            self._rows_by_hand(self.told[fact.experiment], fact)
        elif isinstance(fact, SourceStatus):
            self._stored_by_hand(fact)

    def _stored_by_hand(self, status: SourceStatus) -> None:
        """What a source is said to be done with stands in the ledger: else the monitor thinks that it has seen it."""
        place = status.source.topic_uuid, status.source.partition
        before, self._done[place] = self._done.get(place, 0), status.offset
        for offset in range(before, status.offset):
            at = (*place, offset)
            sent = self.world.services.sent.get(at)
            if sent is not None and sent.fate is Fate.COUNTED and sent.experiment is not None:
                stands = at in self.told[sent.experiment].counted
                self.must(stands, f"{at} is said to be done, and is not in the ledger")

    def _rows_by_hand(self, told: Told, block: EvidenceBlock) -> None:
        """Of each source what lies beyond all that earlier blocks had."""
        columns = zip(
            np.frombuffer(block.source, np.uint8).tolist(),
            np.frombuffer(block.offset, "<i8").tolist(),
            np.frombuffer(block.trace, "<u8").tolist(),
            np.frombuffer(block.at, "<i8").tolist(),
            np.frombuffer(block.variant, np.uint8).tolist(),
            np.frombuffer(block.gates, "<u4").tolist(),
            strict=True,
        )
        before = dict(self._marks)
        for code, offset, trace, at, arm, gates in columns:
            source = block.sources[code]
            key = (f"{block.experiment} {source.key}", source.partition)
            if offset <= before.get(key, -1):
                continue
            self._marks[key] = max(self._marks.get(key, -1), offset)
            place = source.topic_uuid, source.partition, offset
            self.must(place not in told.counted, f"the row at {place} is counted twice")
            told.counted[place] = None
            sent = self.world.services.sent.get(place)
            self.must(bool(gates) == (sent is not None and sent.harms), f"gates of the row at {place}: {gates}")
            if told.is_repeated(trace, at if block.outcomes else None):
                told.repeated += 1
            elif gates and arm == 1:
                told.expected.harmed()

    # ---- what was published --------------------------------------------------------------------------

    def _published(self, record: Stored) -> None:
        value = record.value or b""
        entry = journal.decode(value)
        told, name = self.told[entry.experiment], entry.experiment
        self.must(entry.number == told.published, f"journal of {name}: entry {entry.number} after {told.published - 1}")
        self.must(entry.previous == told.chain, f"journal of {name}: entry {entry.number} does not continue the chain")
        lead_to = told.folded[entry.number] if entry.number < len(told.folded) else None
        self.must(value == lead_to, f"journal of {name}: entry {entry.number} is not what the ledger leads to")
        self.must(entry.at >= told.at, f"journal of {name}: entry {entry.number} is older than the one before")
        told.at = entry.at
        told.published, told.chain = entry.number + 1, hashlib.sha256(value).hexdigest()

    def _read_control(self) -> None:
        for record in self._committed("control"):
            value = record.value or b""
            command = read_command(value, record.headers, TOPICS("control"), VERIFIER)
            known = self.by_id.get(command.command_id)
            if known is not None:
                self.must(known.value == value, f"{name_of(command)} was sent again with other bytes")
            else:
                self._issued(command, value)

    def _issued(self, command: Command, value: bytes) -> None:
        told, name = self.told[command.experiment], name_of(command)
        folded = told.commands[len(told.issued)] if len(told.issued) < len(told.commands) else None
        self.must(command == folded, f"{name} is not what the ledger leads to")
        before = told.issued[-1].command if told.issued else None
        issued = Issued(command, value, self._by_person(command) or self._by_ramp(told, before, command))
        self._must_follow(before, issued)
        told.issued.append(issued)
        self.by_id[command.command_id] = issued

    def _by_person(self, command: Command) -> bool:
        """Whether no rule gave its evidence; then a person's request must stand behind it."""
        if command.evidence is None:
            accepted = "asked for by ada" in command.reason
            self.must(accepted, f"{name_of(command)} has neither evidence nor a person behind it")
            return accepted
        known = bool(command.evidence.journal_ids) and set(command.evidence.journal_ids) <= self.finding_ids
        self.must(known, f"{name_of(command)} names evidence that the journal does not have")
        return False

    def _by_ramp(self, told: Told, before: Command | None, command: Command) -> bool:
        """Whether the ramp, which people have approved, goes on to its next stage."""
        of_ramp = command.evidence is not None and command.evidence.rule == "ramp"
        return of_ramp and before is not None and told.expected.may_climb(before.exposure, command.exposure)

    def _must_follow(self, before: Command | None, issued: Issued) -> None:
        after, name = issued.command, name_of(issued.command)
        if before is None:
            self.must(after.sequence == 1, f"{name} is the first")
            return
        next_in_run = (after.run, after.sequence) == (before.run, before.sequence + 1)
        new_run = (after.run, after.sequence) == (before.run + 1, 1)
        self.must(next_in_run or new_run, f"{name} follows {name_of(before)}")
        self._must_not_raise(before, after, issued.allowed, "is ordered")

    def _must_not_raise(self, before: Command, after: Command, allowed: bool, what: str) -> None:
        rises = after.exposure > before.exposure
        name = name_of(after)
        self.must(not rises or allowed, f"{name} {what} after {name_of(before)} and raises exposure by itself")
        latched = before.action in LATCHING and after.run == before.run
        self.must(not (latched and rises), f"{name} {what} after {name_of(before)} in the same run and raises exposure")

    def _registered(self, record: Stored) -> None:
        entry = registry.decode(record.value or b"")
        told = self.told[entry.experiment]
        told.last = entry
        if told.registered_us is None:
            told.registered_us = self.world.now_us

    def obeyed(self, controller: str, command: Command) -> None:
        """At the moment at which a controller brings a state about."""
        self._fold()
        self._read_control()
        issued = self.by_id.get(command.command_id)
        name = f"{controller}: {name_of(command)}"
        self.must(issued is not None, f"{name} is obeyed before it is committed")
        before = self.standing.get((controller, command.experiment))
        if before is not None and issued is not None:
            in_order = (command.run, command.sequence) >= (before.run, before.sequence)
            in_order = in_order or self._never_remembered(controller, before)
            self.must(in_order, f"{name} is obeyed after {name_of(before)}")
            self._must_not_raise(before, command, issued.allowed, f"is obeyed by {controller}")
        self.standing[controller, command.experiment] = command

    def _never_remembered(self, controller: str, raised: Command) -> bool:
        """A raise over which a controller died, after the switch and before its file, and which has expired since.

        Nobody was told that it is served, so what stood before is brought about again.
        """
        if raised.expires_at is None or self.world.now_us < raised.expires_at:
            return False
        saved = PositionFile(self.world.disks[controller]).all().get(raised.experiment)  # type: ignore[arg-type]
        return saved is None or (saved.run, saved.sequence) < (raised.run, raised.sequence)

    # ---- what people and services see ----------------------------------------------------------------

    def known_for_us(self, experiment: str) -> int:
        since = self.told[experiment].registered_us
        return -1 if since is None else self.world.now_us - since

    def answered(self, request_id: str) -> bool:
        return request_id in self.handled

    def not_registered(self, request_id: str) -> bool:
        return request_id in self._refused and request_id not in self.requests

    def _read_letters(self) -> None:
        for record in self._committed("deadletter"):
            letter = dead_letters.decode(record.value)
            self._dead.add((letter.source.topic_uuid, letter.source.partition, letter.offset))

    # ---- at the end ----------------------------------------------------------------------------------

    def look_at_the_end(self) -> None:
        """When everything has settled. Raises Violation with everything that is wrong."""
        self.look()
        self._read_letters()
        for name in self.world.people.script:
            told = self.told[name]
            self._all_published(name, told)
            self._repeats_are_told(name, told)
            self._ended_as_expected(name, told)
        self.wrong += self.judged.behind()
        self.wrong += Fates(self.world).look({name: list(told.counted) for name, told in self.told.items()}, self._dead)
        unheard = set(self.world.people.asked) - self.requests - self._refused
        self.must(not unheard, f"requests that were lost: {sorted(unheard)}")
        if self.wrong:
            raise Violation(in_a_line(self.wrong))

    def _all_published(self, name: str, told: Told) -> None:
        self.must(told.published == len(told.folded), f"journal of {name}: {told.published} of {len(told.folded)}")
        issued = [one.command for one in told.issued]
        self.must(issued == told.commands, f"{name}: {len(issued)} of {len(told.commands)} commands were issued")

    def _repeats_are_told(self, name: str, told: Told) -> None:
        state = dict(self.experiments()).get(name)
        again = sum(rows for cause, rows in state.refused.items() if AGAIN in cause) if state else 0
        self.must(again == told.repeated, f"{name}: {again} traces taken for repeats, {told.repeated} are")

    def _ended_as_expected(self, name: str, told: Told) -> None:
        expected, last = told.expected, told.last
        if last is None:
            self.must(expected.lifecycle is None, f"{name} is not in the registry, expected: {expected}")
            return
        found = (last.lifecycle, last.run)
        self.must(found == expected.state, f"{name} ended as {found}, expected: {expected.state}")
        self.must(last.exposure in expected.exposures, f"{name} ended at exposure {last.exposure}")
        for controller, flags in self.world.flags.items():
            standing = flags.standing.get(name)
            exposure = standing.exposure if standing else 0.0
            self.must(exposure == last.exposure, f"{name}: {controller} ended at exposure {exposure}")
