"""alerts.yaml: what it can say is kept, and what is wrong with it is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoploss.control.alert_routes import PAGERDUTY_EVENTS, parse_routes, read_routes
from stoploss.errors import ConfigurationError, InvalidExperiment

HEAD = "apiVersion: stoploss/v1alpha1\nkind: Alerts\nroutes:\n"
ROOT = Path(__file__).parents[2]


def routes(text: str) -> str:
    return HEAD + text


def faults(text: str) -> list[tuple[int | None, str, str]]:
    with pytest.raises(InvalidExperiment) as refused:
        parse_routes(routes(text))
    return [(found.line, found.field, found.message) for found in refused.value.violations]


def test_the_example_is_read_and_its_secrets_are_files() -> None:
    found = read_routes(ROOT / "deploy" / "alerts.yaml")
    assert [route.name for route in found] == ["chat", "on-call", "lead"]
    assert found[1].pagerduty is not None
    assert (found[1].pagerduty.url, found[2].unapplied_after) == (PAGERDUTY_EVENTS, 120)


ONE = "of alertmanager, webhook, pagerduty, apprise; give it exactly one, and others routes of their own"
UNKNOWN = "is no field of stoploss/v1alpha1; remove it, or correct its spelling"
TO_X = "name: a, webhook: 'http://x'"


@pytest.mark.parametrize(
    ("route", "fault"),
    [
        ("- {name: a}", (4, "routes[0]", f"'a' has none {ONE}")),
        (f"- {{{TO_X}, apprise: file}}", (4, "routes[0]", f"'a' has webhook and apprise {ONE}")),
        (
            f"- {{{TO_X}}}\n- {{{TO_X}}}",
            (5, "routes[1].name", "'a' stands twice; names are in logs, so give each route its own"),
        ),
        (
            f"- {{{TO_X}, severities: [hold], unappliedAfter: 60s}}",
            (4, "routes[0].severities", "a command that is not applied is a page; add page, or drop unappliedAfter"),
        ),
        (
            f"- {{{TO_X}, quiet: [{{days: Mon-Sun, from: '25:00', to: '07:00'}}]}}",
            (4, "routes[0].quiet[0]", "'25:00' is no time of day; write it as HH:MM"),
        ),
        (
            f"- {{{TO_X}, severities: []}}",
            (4, "routes[0].severities", "holds nothing, so nobody would be told; write page, hold or both"),
        ),
        ("  []", (3, "routes", "names nobody; give it a route, or unset STOPLOSS_ALERTS_FILE")),
        ("- {name: a, webhok: 'http://x'}", (4, "routes[0].webhok", UNKNOWN)),
    ],
)
def test_a_fault_names_its_line_its_field_and_the_way_out(route: str, fault: tuple[int, str, str]) -> None:
    assert fault in faults(route)


@pytest.mark.parametrize("url", ["ftp://h/s3cr3t", "https://ada:s3cr3t@h", "https://h/s3cr3t ", "s3cr3t"])
@pytest.mark.parametrize(
    ("target", "field"),
    [
        ("webhook: '{}'", "webhook"),
        ("alertmanager: '{}'", "alertmanager"),
        ("pagerduty: {{keyFile: k, url: '{}'}}", "pagerduty.url"),
    ],
)
def test_an_address_that_is_none_is_named_by_its_place_for_it_may_hold_a_secret(
    url: str, target: str, field: str
) -> None:
    [(line, place, message)] = faults(f"- {{name: a, {target.format(url)}}}")
    assert (line, place) == (4, f"routes[0].{field}")
    assert "write http://host:port/path" in message
    assert "s3cr3t" not in message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"the alert routes in .*none\.yaml cannot be read"):
        read_routes(tmp_path / "none.yaml")
