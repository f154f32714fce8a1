"""contracts.py: its examples hold, and it says what really stands on the topics."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from stoploss import contracts
from stoploss.contracts import CONTRACTS
from stoploss.control.messages import write_command
from stoploss.leases.message import headers_of
from stoploss.signing import Signer
from stoploss.wire import subjects
from tests.control.orders import rollback

SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(32)))


@pytest.mark.parametrize("module", [contracts, subjects])
def test_the_examples_in_docstrings_hold(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert not found.failed


def test_a_command_has_the_headers_that_its_contract_names() -> None:
    message = write_command(rollback(), SIGNER, "berlin")
    assert [name for name, _ in message.headers] == list(CONTRACTS["control"].headers)


def test_a_lease_has_the_headers_that_its_contract_names() -> None:
    assert [name for name, _ in headers_of(b"lease", SIGNER)] == list(CONTRACTS["leases"].headers)
