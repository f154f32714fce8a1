"""The key pair is made once, readable by nobody else, and never overwritten."""

from __future__ import annotations

from pathlib import Path

from stoploss.signing import Signer, Verifier
from tests.cli.conftest import Program


def test_keys_makes_a_pair_that_belongs_together(stoploss: Program, tmp_path: Path) -> None:
    ended = stoploss("keys")
    keys = tmp_path / "home" / "keys"
    assert ended.code == 0
    assert f"key {Signer.load(keys / 'monitor.key').key_id}: " in ended.out
    assert Verifier.load(keys / "monitor.pub")


def test_the_private_half_and_the_secret_are_the_owners_alone(stoploss: Program, tmp_path: Path) -> None:
    stoploss("keys")
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (tmp_path / "home" / "keys").iterdir()}
    assert modes == {"monitor.key": "0o600", "monitor.pub": "0o644", "secret.key": "0o600"}


def test_the_pair_of_people_is_made_by_itself_and_is_not_the_monitors(stoploss: Program, tmp_path: Path) -> None:
    ended = stoploss("keys", "--break-glass")
    keys = tmp_path / "home" / "keys"
    assert ended.code == 0
    assert {path.name for path in keys.iterdir()} == {"break-glass.key", "break-glass.pub"}
    assert oct((keys / "break-glass.key").stat().st_mode & 0o777) == "0o600"
    stoploss("keys")
    assert Signer.load(keys / "break-glass.key").key_id != Signer.load(keys / "monitor.key").key_id


def test_keys_that_exist_are_not_overwritten(stoploss: Program, tmp_path: Path) -> None:
    stoploss("keys")
    before = (tmp_path / "home" / "keys" / "monitor.key").read_bytes()
    ended = stoploss("keys")
    assert ended.code == 1
    assert "is not overwritten" in ended.sentence
    assert (tmp_path / "home" / "keys" / "monitor.key").read_bytes() == before


def test_a_home_that_is_no_directory_is_one_sentence(stoploss: Program, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = stoploss.set(home=tmp_path / "file")("keys")
    assert ended.code == 1
    assert ended.sentence == f"stoploss: {tmp_path / 'file' / 'keys'}: Not a directory"
