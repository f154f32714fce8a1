"""What fires, and what is over: from commands and conclusions in any order between the two, for they come apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from stoploss.commands import Micros
from stoploss.control.alerts import Alert, Identity, resolved


class End(NamedTuple):
    """A person says that all that began before is over; with a name, all alerts of that name are, whenever they began.

    at  ledger time
    """

    experiment: str
    at: Micros
    alertname: str | None = None


News = Alert | End


@dataclass(slots=True)
class Firing:
    """
    alerts    what fires, by its labels
    ended_at  by experiment: when a person said last that all before is over
    """

    alerts: dict[Identity, Alert] = field(default_factory=dict)
    ended_at: dict[str, Micros] = field(default_factory=dict)

    def take(self, news: Iterable[News]) -> list[Alert]:
        """What there is to tell of it: each beginning and each end once, and nothing of what is only information."""
        return [told for one in news for told in (self._end(one) if isinstance(one, End) else self._begin(one))]

    def _begin(self, alert: Alert) -> list[Alert]:
        is_over = alert.starts_at < self.ended_at.get(alert.experiment, 0)
        if alert.severity == "info" or alert.identity in self.alerts or is_over:
            return []
        self.alerts[alert.identity] = alert
        return [alert]

    def _end(self, end: End) -> list[Alert]:
        if end.alertname is None:
            self.ended_at[end.experiment] = max(end.at, self.ended_at.get(end.experiment, 0))
        over = [alert for alert in self.alerts.values() if _is_ended(alert, end)]
        for alert in over:
            del self.alerts[alert.identity]
        return [resolved(alert, end.at) for alert in over]

    def join(self, other: Firing) -> list[Alert]:
        """Takes over what the other knows; what there is to tell of it."""
        ends = [End(experiment, at) for experiment, at in other.ended_at.items()]
        return self.take([*ends, *other.alerts.values()])


def _is_ended(alert: Alert, end: End) -> bool:
    if alert.experiment != end.experiment:
        return False
    return alert.starts_at < end.at if end.alertname is None else alert.alertname == end.alertname
