"""Links and cookies: who made them decides, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoploss.console import sessions
from stoploss.console.sessions import FILE, LINK_S, SESSION_S, Sessions, agrees
from stoploss.errors import ConfigurationError


@pytest.fixture
def ours(tmp_path: Path) -> Sessions:
    return Sessions.of_home(tmp_path / "home")


def test_the_secret_is_made_once_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    first = Sessions.of_home(tmp_path)
    assert Sessions.of_home(tmp_path) == first
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_secret_of_another_length_is_refused_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("hunter2")
    with pytest.raises(ConfigurationError, match="remove it, and a new one is made"):
        Sessions.of_home(tmp_path)


def test_a_token_is_of_one_person(ours: Sessions) -> None:
    token = ours.token("ada")
    assert ours.knows("ada", token)
    assert not ours.knows("eve", token)
    assert not ours.knows("ada", token[:-1])
    assert not ours.knows("ada", "")


def test_a_link_holds_for_a_day(ours: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    token, now_s = ours.token("ada"), sessions.time.time()
    made_s, _, mac = token.partition(".")
    assert not ours.knows("ada", f"{int(made_s) + 1}.{mac}")
    monkeypatch.setattr(sessions.time, "time", lambda: now_s + LINK_S - 5)
    assert ours.knows("ada", token)
    monkeypatch.setattr(sessions.time, "time", lambda: now_s + LINK_S + 5)
    assert not ours.knows("ada", token)


@pytest.mark.parametrize("token", ["", ".", "x", "x.y", "1e3.y", "-1.", "ä.ä"])
def test_what_is_no_token_lets_nobody_in(ours: Sessions, token: str) -> None:
    assert not ours.knows("ada", token)


@pytest.mark.parametrize("name", ["", "a|b", "a b", "ä" * 65, "<b>", "x" * 65, "a\n"])
def test_what_is_no_name_gets_no_token(ours: Sessions, name: str) -> None:
    with pytest.raises(ConfigurationError, match="is no name of a person"):
        ours.token(name)


def test_a_cookie_says_who_it_is_and_holds_across_restarts(tmp_path: Path) -> None:
    cookie = Sessions.of_home(tmp_path).begin("ada")
    found = Sessions.of_home(tmp_path).session(cookie)
    assert found is not None
    assert found.person == "ada"


def test_a_forged_damaged_or_foreign_cookie_is_none(ours: Sessions, tmp_path: Path) -> None:
    cookie = ours.begin("ada")
    content, _, mac = cookie.partition(".")
    forged = ["", ".", "x", content, f"{content}.", f"{content[:-4]}eve=.{mac}", cookie + "x", "ä.ä", f"!!!.{mac}"]
    assert [ours.session(value) for value in forged] == [None] * len(forged)
    assert Sessions.of_home(tmp_path / "other").session(cookie) is None


def test_a_session_ends(ours: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    cookie, now_s = ours.begin("ada"), sessions.time.time()
    monkeypatch.setattr(sessions.time, "time", lambda: now_s + SESSION_S - 5)
    assert ours.session(cookie) is not None
    monkeypatch.setattr(sessions.time, "time", lambda: now_s + SESSION_S + 5)
    assert ours.session(cookie) is None


def test_each_session_has_a_form_token_of_its_own(ours: Sessions) -> None:
    first, second = (ours.session(ours.begin("ada")) for _ in range(2))
    assert first is not None
    assert second is not None
    assert agrees(first, first.csrf)
    assert not agrees(first, second.csrf)
    assert not agrees(first, "")
    assert not agrees(first, "ä")
