"""alerts.yaml: whom the courier tells of what, and when; parsed once, and every fault names its line and field."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from stoploss.control.http import is_address
from stoploss.errors import ConfigurationError, InvalidExperiment
from stoploss.experiment import Window
from stoploss.governance.windows import fault
from stoploss.spec.base import Name, Part, Seconds
from stoploss.spec.file import Fault, read_model, violations_at
from stoploss.spec.file import Path as Place

NO_ADDRESS = "is no address to post to; write http://host:port/path, without a login or a space"
"""Without what was given: an address may hold a secret, and whoever starts a courier keeps what it says as a log."""
PAGERDUTY_EVENTS = "https://events.pagerduty.com/v2/enqueue"
TARGETS = ("alertmanager", "webhook", "pagerduty", "apprise")

Told = Literal["page", "hold"]


class PagerDutyTarget(Part):
    """
    key_file  file whose only line is the integration key of an Events API v2 service
    url       where events are posted; name the European one where your account lives there
    """

    key_file: Path
    url: str = PAGERDUTY_EVENTS


class Route(Part):
    """One receiver of alerts: exactly one of alertmanager, webhook, pagerduty and apprise.

    alertmanager     address of an Alertmanager, without /api/v2/alerts
    webhook          address that understands Alertmanager's webhook, version 4
    apprise          file with the addresses of apprise, one a line: they hold passwords
    severities       what it is told of
    quiet            hours in which it is told of nothing but gates, commands that are not applied, and blindness;
                     what still fires when they end is told then
    unapplied_after  it is told of nothing but commands that were not applied for so long: the next in the line
    """

    name: Name
    alertmanager: str | None = None
    webhook: str | None = None
    pagerduty: PagerDutyTarget | None = None
    apprise: Path | None = None
    severities: tuple[Told, ...] = ("page", "hold")
    quiet: tuple[Window, ...] = ()
    unapplied_after: Seconds | None = None


class AlertRoutes(Part):
    """Everybody whom one installation tells."""

    api_version: Literal["stoploss/v1alpha1"]
    kind: Literal["Alerts"]
    routes: tuple[Route, ...]


def parse_routes(text: str, name: str = "the alert routes") -> tuple[Route, ...]:
    """The routes of a YAML text; raises InvalidExperiment with all violations at once."""
    model, root = read_model(AlertRoutes, text, name)
    if found := list(_faults(model.routes)):
        raise InvalidExperiment(name, violations_at(root, found))
    return model.routes


def read_routes(file: Path) -> tuple[Route, ...]:
    """The routes of a file; raises ConfigurationError where it cannot be read."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the alert routes in {file} cannot be read: {error}") from None
    return parse_routes(text, str(file))


def _faults(routes: tuple[Route, ...]) -> Iterator[Fault]:
    if not routes:
        yield ("routes",), "names nobody; give it a route, or unset STOPLOSS_ALERTS_FILE"
    for index, route in enumerate(routes):
        at: Place = ("routes", index)
        given = [target for target in TARGETS if getattr(route, target) is not None]
        if len(given) != 1:
            told = f"{' and '.join(given) or 'none'} of {', '.join(TARGETS)}"
            yield at, f"{route.name!r} has {told}; give it exactly one, and others routes of their own"
        if [other.name for other in routes].index(route.name) != index:
            yield (*at, "name"), f"{route.name!r} stands twice; names are in logs, so give each route its own"
        yield from ((place, NO_ADDRESS) for place, url in _addresses(route, at) if not is_address(url))
        if not route.severities:
            yield (*at, "severities"), "holds nothing, so nobody would be told; write page, hold or both"
        elif route.unapplied_after is not None and "page" not in route.severities:
            yield (*at, "severities"), "a command that is not applied is a page; add page, or drop unappliedAfter"
        for number, window in enumerate(route.quiet):
            if found := fault(window.days, window.from_, window.to, window.timezone):
                yield (*at, "quiet", number), found


def _addresses(route: Route, at: Place) -> Iterator[tuple[Place, str]]:
    if route.alertmanager is not None:
        yield (*at, "alertmanager"), route.alertmanager
    if route.webhook is not None:
        yield (*at, "webhook"), route.webhook
    if route.pagerduty is not None:
        yield (*at, "pagerduty", "url"), route.pagerduty.url
