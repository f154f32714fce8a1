from __future__ import annotations

from pathlib import Path

import pytest

from stoploss.control.keys import create_break_glass_keys, create_keys
from stoploss.signing import Signer, Verifier

from .site import Site


@pytest.fixture(scope="session")
def key_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("keys")
    create_keys(directory)
    create_break_glass_keys(directory)
    return directory


@pytest.fixture(scope="session")
def signer(key_directory: Path) -> Signer:
    return Signer.load(key_directory / "monitor.key")


@pytest.fixture(scope="session")
def verifier(key_directory: Path) -> Verifier:
    return Verifier.load(key_directory / "monitor.pub", break_glass=key_directory / "break-glass.pub")


@pytest.fixture(scope="session")
def person(key_directory: Path) -> Signer:
    """Who may break the glass."""
    return Signer.load(key_directory / "break-glass.key")


@pytest.fixture
def site(tmp_path: Path, signer: Signer, verifier: Verifier) -> Site:
    return Site(tmp_path, signer, verifier)
