"""Messages through the real apprise, to its own JSON service on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoploss.control.alerts import alert_for, linked, resolved
from stoploss.control.chat import Chat, body_of
from stoploss.errors import ConfigurationError

from .orders import NOW, order, rollback
from .receiver import receiving

ALERT = linked(alert_for(rollback()), console="https://console/", runbooks="https://docs/runbook.md")


def test_a_message_says_what_happened_where_to_look_and_when_it_is_over(tmp_path: Path) -> None:
    file = tmp_path / "addresses"
    with receiving() as server:
        file.write_text(server.url.replace("http://", "json://") + "\n")
        assert Chat(file).post([ALERT, resolved(ALERT, NOW)]).ok
    assert [(body["title"], body["type"]) for body in server.bodies] == [
        ("[page] checkout: StoplossRollback", "failure"),
        ("[resolved] checkout: StoplossRollback", "success"),
    ]
    assert server.bodies[0]["message"] == (
        "small leaked PII; everybody gets current.\n"
        "Console: https://console/experiments/checkout\n"
        "Runbook: https://docs/runbook.md#stoplossrollback"
    )


def test_a_line_that_there_is_nothing_for_is_left_out() -> None:
    assert body_of(alert_for(order())) == "The first stage of the ramp begins."


def test_a_service_that_does_not_take_it_is_told_without_its_address(tmp_path: Path) -> None:
    file = tmp_path / "addresses"
    with receiving() as server:
        server.answers.append(500)
        file.write_text(server.url.replace("http://", "json://user:secret@") + "\n")
        posted = Chat(file).post([ALERT])
    assert not posted.ok
    assert "secret" not in posted.reason


def test_a_file_without_an_address_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "addresses"
    file.write_text("# nothing yet\n")
    with pytest.raises(ConfigurationError, match="names no address that apprise knows"):
        Chat(file)
