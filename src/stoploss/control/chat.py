"""Alerts to the services that apprise knows: mail, Slack, Teams, ntfy and many more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stoploss.control.alerts import Alert
from stoploss.control.post import Posted
from stoploss.errors import ConfigurationError

INSTALL = "apprise is not installed; pip install 'stoploss[notify]'"


def title_of(alert: Alert) -> str:
    """What stands in the subject or the first line: an end says so first, for lines are cut.

    >>> title_of(Alert("StoplossRollback", "page", "checkout", "small", "", "", 1, "", "", "", 0))
    '[page] checkout: StoplossRollback'
    """
    state = alert.severity if alert.ends_at is None else "resolved"
    return f"[{state}] {alert.experiment}: {alert.alertname}"


def body_of(alert: Alert) -> str:
    """The sentence, the numbers compared, and where to look, a line each."""
    where = [
        f"Console: {alert.generator}" if alert.generator else "",
        f"Runbook: {alert.runbook}" if alert.runbook else "",
    ]
    return "\n".join(line for line in (alert.summary, alert.evidence, *where) if line)


class Chat:
    """Sends a message for each alert; it knows no alert by name, so put it behind Routed."""

    def __init__(self, file: Path) -> None:
        """file: addresses of apprise, one a line, or its YAML. Raises ConfigurationError where it gives none."""
        try:
            import apprise
        except ImportError:
            raise ConfigurationError(INSTALL) from None
        config = apprise.AppriseConfig()
        config.add(str(file))
        self._services = apprise.Apprise()
        self._services.add(config)
        if not len(self._services):
            raise ConfigurationError(
                f"{file} names no address that apprise knows; write one a line, such as mailto://…"
            )
        kinds = apprise.NotifyType
        self._kinds = {"page": kinds.FAILURE, "hold": kinds.WARNING, "info": kinds.INFO}
        self._over = apprise.NotifyType.SUCCESS

    def post(self, alerts: Sequence[Alert]) -> Posted:
        """Blocks until all services have answered; an address is never told, for it holds a password."""
        for alert in alerts:
            kind = self._kinds[alert.severity] if alert.ends_at is None else self._over
            if not self._services.notify(title=title_of(alert), body=body_of(alert), notify_type=kind):
                return Posted(False, f"apprise could not tell all services of {alert.alertname}; see its log")
        return Posted(True)
