"""Which instances of controllers live, and what the ledger was told of them; no Kafka in here.

An instance lives from its first sign of life until it leaves in order, or until it was silent for long. One that was
killed is waited for meanwhile: nobody knows whether what it last switched is still served.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from stoploss.awaited import Awaited
from stoploss.commands import Ack, AckStatus

Instance = tuple[str, str]
"""Controller and instance, by name."""


@dataclass(slots=True)
class Presence:
    """
    heard_s  when each living instance was last heard of, monotonic
    gone     instances that are no more
    told     by experiment: what its ledger was told of each instance
    """

    silent_for_s: float
    heard_s: dict[Instance, float] = field(default_factory=dict)
    gone: set[Instance] = field(default_factory=set)
    told: dict[str, dict[Instance, AckStatus]] = field(default_factory=dict)

    def heard(self, ack: Ack, at_s: float) -> None:
        one = (ack.controller, ack.instance)
        if ack.status == AckStatus.LEFT:
            self.heard_s.pop(one, None)
            self.gone.add(one)
        else:
            self.heard_s[one] = max(at_s, self.heard_s.get(one, at_s))
            self.gone.discard(one)

    def instances(self, controllers: Collection[str], now_s: float) -> dict[str, list[str]]:
        """Those that lived at that time, by controller."""
        living = sorted(one for one, at_s in self.heard_s.items() if at_s >= now_s - self.silent_for_s)
        return {name: [instance for controller, instance in living if controller == name] for name in controllers}

    def let_go(self, now_s: float, awaited: Collection[Awaited]) -> None:
        """Gives up those that were silent for long, unless a command waits for them."""
        for one in [one for one, at_s in self.heard_s.items() if now_s - at_s > self.silent_for_s]:
            if not any(one in waiting.named() for waiting in awaited):
                del self.heard_s[one]
                self.gone.add(one)

    def news(self, experiment: str, controllers: Collection[str]) -> Iterator[tuple[Instance, AckStatus]]:
        """What the ledger of an experiment does not know yet; it counts as told."""
        told = self.told.setdefault(experiment, {})
        now = dict.fromkeys(self.heard_s, AckStatus.ALIVE) | dict.fromkeys(self.gone, AckStatus.LEFT)
        for one, status in sorted(now.items()):
            if one[0] in controllers and told.get(one) != status:
                told[one] = status
                yield one, status

    def forget_gone(self) -> None:
        """Once every ledger knows that they are gone; `told` keeps only who lives."""
        for told in self.told.values():
            for one in self.gone:
                told.pop(one, None)
        self.gone.clear()
