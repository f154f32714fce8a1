"""A dry run says what would be done; it does nothing, remembers nothing, and no ack leaves it."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoploss.commands import Action
from stoploss.control.adapter.actuator import HttpAdapter
from stoploss.control.adapter.parsing import parse_adapter, recipes
from stoploss.control.controller import Controller
from stoploss.control.dry_run import Describing, DryRun
from stoploss.control.flagd import FlagdFile
from stoploss.control.position import PositionFile

from .orders import order, rollback
from .site import Site
from .vendor import Vendor, serving


def rehearsing(site: Site, actuator: Describing, said: list[str]) -> None:
    site.controller = Controller(
        name="flagd",
        instance="a",
        actuator=DryRun(actuator, said.append),
        verifier=site.verifier,
        positions=PositionFile(site.positions, writes=False),
        clock=lambda: site.now,
    )


def test_the_flag_is_said_and_not_written(site: Site) -> None:
    said: list[str] = []
    rehearsing(site, FlagdFile(site.flags), said)
    site.send(order(sequence=1))
    site.send(rollback(2))
    assert '"defaultVariant": "current"' in said[1]
    assert said[1].startswith("dry run, checkout run 1, rollback: small leaked PII")
    assert list(site.directory.iterdir()) == []


def test_the_order_of_commands_is_kept_as_if_they_were_obeyed(site: Site) -> None:
    said: list[str] = []
    rehearsing(site, FlagdFile(site.flags), said)
    site.send(rollback(2))
    site.send(order(sequence=3))
    site.send(order(Action.STOP, sequence=1))
    assert len(said) == 1


def test_requests_are_said_and_not_sent(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROWTHBOOK_SECRET_KEY", "s3cr3t")
    said: list[str] = []
    with serving(Vendor()) as vendor:
        text = recipes()["growthbook"].read_text().replace("https://api.growthbook.io", vendor.url)
        rehearsing(site, HttpAdapter(parse_adapter(text)), said)
        site.send(rollback())
        assert vendor.asked == []
    assert f"POST {vendor.url}/api/v1/features/checkout-model" in said[0]
    assert "Bearer <key>" in said[0]
