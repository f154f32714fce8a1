from __future__ import annotations

from pathlib import Path

import pytest

from stoploss.control.keys import create_keys
from stoploss.signing import Signer, Verifier


@pytest.fixture(scope="session")
def key_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return create_keys(tmp_path_factory.mktemp("keys")).private.parent


@pytest.fixture(scope="session")
def signer(key_directory: Path) -> Signer:
    return Signer.load(key_directory / "monitor.key")


@pytest.fixture(scope="session")
def verifier(key_directory: Path) -> Verifier:
    return Verifier.load(key_directory / "monitor.pub")
