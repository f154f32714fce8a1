"""What became of each record that services have sent, held against what must: when everything has settled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from stoploss.wire.traces import decode_values
from tests.simulation.roles import LONGEST_WAIT_US, TOPICS
from tests.simulation.services import Fate, Place, Sent, SentOutcome, fate_of
from tests.simulation.traffic import said_of

if TYPE_CHECKING:
    from tests.simulation.world import World

COUNTED = frozenset((Fate.COUNTED, Fate.EITHER))
DEAD = frozenset((Fate.REFUSED, Fate.EITHER))
STORED = frozenset((Fate.COUNTED, Fate.STORED))


class Fates:
    """Every record of services once, and those that the resolver has given back as records of their own."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.wrong: list[str] = []
        self.sent = dict(world.services.sent)
        self._given_back()

    def must(self, holds: bool, what: str) -> None:
        if not holds:
            self.wrong.append(what)

    # ---- bare outcomes -------------------------------------------------------------------------------

    def _given_back(self) -> None:
        """Each as often as it was sent: with its trace's context, or named unresolved by the joiner."""
        bare = {(one.trace.trace, one.at): one for one in self.world.services.bare}
        found: Counter[tuple[str, int]] = Counter()
        for place, outcome in self._resolved():
            said = said_of(outcome)
            found[said] += 1
            if said in bare:
                self.sent[place] = self._fate(bare[said], outcome)
        sent = Counter((one.trace.trace, one.at) for one in self.world.services.bare)
        self.must(not sent - found, f"bare outcomes that were lost: {sorted(sent - found)}")
        self.must(not found - sent, f"bare outcomes that were given back too often: {sorted(found - sent)}")

    def _resolved(self) -> Iterator[tuple[Place, dict[str, object]]]:
        topic = self.world.broker.topics[TOPICS("outcomes_resolved")]
        for log in topic.logs:
            records, _ = log.read(0, committed=True, most=log.end + 1)
            read = decode_values([record.value for record in records], "outcome")
            self.must(not read.refused, f"what the resolver gave back cannot be read: {read.refused}")
            for position, row in zip(read.positions.tolist(), read.frame.iter_rows(named=True), strict=True):
                yield (topic.uuid, log.partition, records[position].offset), row

    def _fate(self, bare: SentOutcome, outcome: dict[str, object]) -> Sent:
        trace = bare.trace
        if not outcome["assignments"]:
            stored = self.world.store.traces.get(trace.trace)
            in_time = stored is not None and stored.since_us < bare.sent_us + LONGEST_WAIT_US
            self.must(not in_time, f"the outcome {trace.trace} {bare.at} is unresolved, its trace was stored in time")
            return Sent(Fate.REFUSED)
        same = (outcome["assignments"], outcome["unit_id"]) == (trace.assignments, trace.unit)
        self.must(same, f"the outcome {trace.trace} {bare.at} was given the context of another trace")
        return Sent(fate_of(trace, behind=bare.behind), trace.experiment)

    # ---- everything ----------------------------------------------------------------------------------

    def look(self, counted: dict[str, list[Place]], dead: set[Place]) -> list[str]:
        """counted: rows by experiment, in the order of the ledger; dead: places of dead letters."""
        self.world.store.record()
        for name in self.world.people.script:
            self._counted_once(name, Counter(counted.get(name, ())))
        rows = {place for places in counted.values() for place in places}
        self._every(Fate.REFUSED, dead, "has no dead letter")
        self._every(Fate.EITHER, rows | dead | set(self.world.store.quarantined), "is nowhere")
        self._none_but(DEAD, dead, "is a dead letter")
        self._stored()
        return self.wrong

    def _counted_once(self, name: str, counted: Counter[Place]) -> None:
        mine = {place for place, sent in self.sent.items() if sent.experiment == name and sent.fate in COUNTED}
        must = {place for place in mine if self.sent[place].fate is Fate.COUNTED}
        missing = must - self.world.services.lost - set(counted)
        self.must(not missing, f"{name}: records that were never counted: {sorted(missing)}")
        self.must(set(counted) <= mine, f"{name}: counted, and must not be: {sorted(set(counted) - mine)}")
        self.must(all(n == 1 for n in counted.values()), f"{name}: counted more than once: {counted.most_common(3)}")

    def _stored(self) -> None:
        store = self.world.store
        for fate in STORED:
            self._every(fate, set(store.quarantined), "is not stored")
        self._none_but(STORED | {Fate.EITHER}, set(store.quarantined), "is stored")
        judged = {place for place, sent in self.sent.items() if sent.fate in COUNTED}
        aside = sorted(place for place in judged if store.quarantined.get(place))
        self.must(not aside, f"quarantined without need: {aside}")
        self.must(not store.unmasked, f"stored with a card number: {store.unmasked}")

    def _every(self, fate: Fate, found: set[Place], otherwise: str) -> None:
        missing = {place for place, sent in self.sent.items() if sent.fate is fate} - self.world.services.lost - found
        self.must(not missing, f"what {otherwise}: {sorted(missing)}")

    def _none_but(self, fates: frozenset[Fate], found: set[Place], what: str) -> None:
        wrong = sorted(place for place in found if place in self.sent and self.sent[place].fate not in fates)
        self.must(not wrong, f"what {what} and must not be: {wrong}")
