"""What on-call is told with a command, beside the command itself."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from stoploss.control.keys import create_keys
from stoploss.governance.record import Amendment
from stoploss.settings import Settings
from stoploss.signing import Verifier
from streams.alerting import Alerting
from streams.registry_view import RegistryView
from streams.telling import Telling
from tests.control.orders import NOW, rollback
from tests.review.test_overview import ENTRY

CHANGE = Amendment("eve", "too strict", NOW, "ab" * 32, ("spec.guardrails[0].margin.relative",), True)


def test_that_the_spec_was_amended_is_told_with_every_alert(tmp_path: Path) -> None:
    """X10: the registry's last word stands beside the command."""
    registry = RegistryView("127.0.0.1:1", "stoploss.registry")
    verifier = Verifier.load(create_keys(tmp_path).public)
    with closing(Alerting([])) as alerting:
        telling = Telling(Settings(), "couriers", verifier, registry, alerting, lambda messages: messages)
        for amendments in ((), (CHANGE,), (CHANGE, CHANGE)):
            registry._entries["checkout"] = replace(ENTRY, amendments=amendments)
            telling.forget()
            telling.command(rollback(sequence=2 + len(amendments), command_id=f"c-{len(amendments)}"))
            (alert,) = alerting.firing.alerts.values()
            assert (
                alert.annotations.get("amended")
                == {
                    0: None,
                    1: "amended by eve: too strict",
                    2: "amended 2 times, last by eve: too strict",
                }[len(amendments)]
            )
