from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stoploss.control.keys import create_keys, load_or_create_secret
from stoploss.errors import ConfigurationError
from stoploss.signing import Signer


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_private_key_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    keys = create_keys(tmp_path / "made")
    assert (keys.private.name, _mode(keys.private)) == ("monitor.key", 0o600)
    assert keys.public.name == "monitor.pub"
    assert keys.key_id == Signer.load(keys.private).key_id


@pytest.mark.parametrize("existing", ["monitor.key", "monitor.pub"])
def test_keys_are_never_overwritten(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("precious")
    with pytest.raises(ConfigurationError, match=f"{existing} exists already and is not overwritten"):
        create_keys(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing).read_text() == "precious"


def test_a_secret_is_made_once_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "data" / "secret"
    secret = load_or_create_secret(path)
    assert (len(secret), _mode(path)) == (32, 0o600)
    assert load_or_create_secret(path) == secret
    assert [found.name for found in path.parent.iterdir()] == ["secret"]


def test_processes_that_start_together_agree_on_one_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        secrets = set(pool.map(lambda _: load_or_create_secret(tmp_path / "secret"), range(32)))
    assert len(secrets) == 1


def test_a_truncated_secret_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"short")
    with pytest.raises(ConfigurationError, match="holds 5 bytes where the secret has 32"):
        load_or_create_secret(path)
    assert path.read_bytes() == b"short"
