"""`stoploss credentials`: made once, each for itself, and shown to nobody."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from stoploss.acls import GRANTS
from stoploss.cli import running
from stoploss.control.credentials import Credentials, alternative, create_credentials
from stoploss.errors import ConfigurationError
from stoploss.settings import load

HOSTS = ("kafka", "broker-1.example", "127.0.0.1", "::1")


@pytest.fixture
def made(tmp_path: Path) -> Credentials:
    return create_credentials(tmp_path / "credentials", load(installation="shop"), HOSTS)


def passwords(made: Credentials) -> dict[str, str]:
    return {path.stem: path.read_text() for path in made.directory.glob("*.password")}


def test_every_user_of_the_acls_has_a_password_of_its_own(made: Credentials) -> None:
    found = passwords(made)
    assert set(found) == {"admin", *(f"stoploss-shop-{user}" for user in GRANTS)} == set(made.users)
    assert len(set(found.values())) == len(found)
    assert all(len(password) == 64 and password.isalnum() for password in found.values())


def test_the_directory_is_its_owners_and_a_container_that_is_given_a_file_can_read_it(made: Credentials) -> None:
    assert made.directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in made.directory.iterdir()} == {0o644}


def test_the_broker_is_vouched_for_under_each_of_its_names(made: Credentials) -> None:
    pem = (made.directory / "broker.pem").read_bytes()
    broker, authority = x509.load_pem_x509_certificates(pem)
    broker.verify_directly_issued_by(authority)
    names = broker.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names) == {alternative(host) for host in HOSTS}
    key = serialization.load_pem_private_key(pem, password=None)
    assert key.public_key() == broker.public_key()


def test_what_clients_trust_is_one_authority_without_its_key(made: Credentials) -> None:
    context = ssl.create_default_context(cafile=made.directory / "ca.pem")
    assert context.cert_store_stats()["x509_ca"] >= 1
    assert "PRIVATE" not in (made.directory / "ca.pem").read_text()
    [authority] = x509.load_pem_x509_certificates((made.directory / "ca.pem").read_bytes())
    assert authority.not_valid_after_utc == made.expires


def test_nothing_is_written_over(made: Credentials) -> None:
    before = passwords(made)
    with pytest.raises(ConfigurationError, match="there already"):
        create_credentials(made.directory, load(), HOSTS)
    assert passwords(made) == before


@pytest.mark.parametrize("host", ["kafka:9092", "", "a b", "-x", "*.example", "x" * 254])
def test_what_is_no_host_is_refused_before_anything_is_written(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigurationError, match="without a port"):
        create_credentials(tmp_path / "credentials", load(), ["kafka", host])
    assert not (tmp_path / "credentials").exists()


def test_what_is_printed_is_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    running.credentials(tmp_path / "credentials", ["kafka"])
    said = capsys.readouterr().out
    for path in (tmp_path / "credentials").iterdir():
        assert path.name in said
        assert path.read_text().splitlines()[-1] not in said
