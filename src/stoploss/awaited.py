"""Who still has to apply a command: every live instance of each required controller.

Instances say that they live (acks `alive` and `left`). Where none of a controller is known yet, any one will do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self


@dataclass(slots=True)
class Awaited:
    """
    missing  by controller: the instances that have not applied it; none named: any instance will do
    applied  by controller that is still missing: the instances that have
    """

    missing: dict[str, list[str]] = field(default_factory=dict)
    applied: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, controllers: Iterable[str], instances: Mapping[str, Sequence[str]]) -> Self:
        """instances: those that live, by controller."""
        return cls({controller: list(instances.get(controller, ())) for controller in controllers})

    def __bool__(self) -> bool:
        return bool(self.missing)

    def includes(self, controller: str, instance: str) -> bool:
        """Whether this instance is waited for; an empty name stands for any."""
        missing = self.missing.get(controller)
        return missing is not None and (not missing or instance in ("", *missing))

    def named(self) -> list[tuple[str, str]]:
        """(controller, instance) of all that are missing; the instance is empty where any one will do."""
        return [(name, one) for name in sorted(self.missing) for one in sorted(self.missing[name]) or [""]]

    def applied_by(self, controller: str, instance: str) -> None:
        missing = self.missing.get(controller)
        if missing is None:
            return
        if instance not in self.applied.setdefault(controller, []):
            self.applied[controller].append(instance)
        if instance in missing:
            missing.remove(instance)
        self._close(controller)

    def alive(self, controller: str, instance: str) -> None:
        """Another instance lives: while the command is not applied, it has to apply it, too."""
        missing = self.missing.get(controller)
        if missing is not None and instance not in (*missing, *self.applied.get(controller, ())):
            missing.append(instance)

    def left(self, controller: str, instance: str) -> None:
        """It has ended in order; the last one that goes without having applied leaves the controller awaited."""
        missing = self.missing.get(controller)
        if missing is not None and instance in missing:
            missing.remove(instance)
            self._close(controller)

    def _close(self, controller: str) -> None:
        if not self.missing[controller] and self.applied.get(controller):
            del self.missing[controller]
            del self.applied[controller]
