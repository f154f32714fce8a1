"""Secrets: from files or environment, used where they are meant to be, and shown nowhere."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoploss.cli import addresses, running
from stoploss.embedded.ports import LOOPBACK
from stoploss.errors import ConfigurationError
from stoploss.kafka import connection
from stoploss.settings import Settings, load
from streams.app import credentials_of

ROOT = Path(__file__).parents[2]
PASSWORD = "hunter2"


def secured(tmp_path: Path, **more: object) -> Settings:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    given = {"kafka_protocol": "SASL_SSL", "kafka_user": "judge", "kafka_password_file": tmp_path / "password", **more}
    return load(kafka="broker:9093", home=tmp_path, **given)


def test_a_password_in_a_file_reaches_every_kind_of_client(tmp_path: Path) -> None:
    address = secured(tmp_path).need_kafka()
    config = connection(address)
    assert (config["sasl.username"], config["sasl.password"]) == ("judge", PASSWORD)
    assert config["security.protocol"] == "SASL_SSL"
    credentials = credentials_of(address)
    assert (credentials.username, credentials.password) == ("judge", PASSWORD)  # type: ignore[union-attr]
    assert credentials.protocol.value == "SASL_SSL"  # type: ignore[union-attr]


def test_without_security_a_client_is_given_the_address_alone() -> None:
    assert connection(load(kafka="broker:9092").need_kafka()) == {"bootstrap.servers": "broker:9092"}
    assert credentials_of(load(kafka="broker:9092").need_kafka()) is None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"kafka_user": "judge"}, "are not used with PLAINTEXT"),
        ({"kafka_protocol": "SASL_SSL"}, "needs STOPLOSS_KAFKA_USER"),
        ({"kafka_protocol": "SASL_SSL", "kafka_user": "judge"}, "STOPLOSS_KAFKA_PASSWORD_FILE"),
        ({"kafka_password": PASSWORD, "kafka_password_file": Path("x")}, "are both set"),
        ({"kafka_password_file": Path("nowhere")}, "cannot be read"),
    ],
)
def test_half_a_configuration_is_refused_with_the_way_out(given: dict[str, object], says: str) -> None:
    """A password that would not be used is worse than none: somebody believes that it is."""
    settings = load(kafka="broker:9092", **given)
    with pytest.raises(ConfigurationError, match=says) as refused:
        settings.need_kafka()
    assert PASSWORD not in str(refused.value)


def test_an_empty_password_file_is_no_password(tmp_path: Path) -> None:
    settings = secured(tmp_path)
    (tmp_path / "password").write_text("\n")
    with pytest.raises(ConfigurationError, match="holds no secret"):
        settings.need_kafka()


def test_the_password_of_clickhouse_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "clickhouse").write_text("p@ss\n")
    more = {"clickhouse_password_file": tmp_path / "clickhouse", "clickhouse_url": "https://recorder@host:8443"}
    assert load(**more).need_clickhouse() == "https://recorder:p%40ss@host:8443"
    with pytest.raises(ConfigurationError, match="names a user and no password"):
        load(**{**more, "clickhouse_url": "https://host:8443"}).need_clickhouse()


def test_a_wrong_setting_is_named_without_the_secrets_beside_it() -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(kafka_password=PASSWORD, kafka_protocol="SASL_PLAINTEXT")
    assert "STOPLOSS_KAFKA_PROTOCOL" in str(refused.value)
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "given"),
    [("schema_registry", f"ftp://ada:{PASSWORD}@host"), ("schema_registry_token", {"token": PASSWORD})],
)
def test_a_wrong_setting_that_may_hold_a_secret_is_named_without_it(name: str, given: object) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(**{name: given})
    assert f"STOPLOSS_{name.upper()}" in str(refused.value)
    assert PASSWORD not in str(refused.value)


def test_the_addresses_that_a_running_installation_writes_down_are_its_owners_alone(tmp_path: Path) -> None:
    settings = load(kafka="b:1", clickhouse_url=f"http://u:{PASSWORD}@h:1", home=tmp_path)
    with addresses.held(tmp_path), addresses.written(settings):
        file = tmp_path / addresses.FILE
        assert json.loads(file.read_text())["clickhouse_url"].startswith("http://u:")
        assert oct(file.stat().st_mode & 0o777) == "0o600"


# ---- what listens ----------------------------------------------------------------------------------


def sources() -> dict[Path, str]:
    return {path: path.read_text() for folder in ("src", "streams") for path in (ROOT / folder).rglob("*.py")}


def test_what_listens_listens_on_loopback_unless_told_otherwise() -> None:
    assert load().health_host == LOOPBACK == "127.0.0.1"
    for path, text in sources().items():
        assert "0.0.0.0" not in text, path
        assert not re.search(r"HTTPServer\(\(\"\"", text), path


SECRETS = {"token", "secret", "mac", "password", "digest", "signature", "csrf", "cookie", "authorization"}
NO_SECRETS = {
    # Whether a trace came again with the same bytes: the sender has both, and hears of neither result nor time.
    "src/stoploss/intake/repeats.py: known == digest",
    # The names that an adapter's file gives its secrets.
    "src/stoploss/control/adapter/faults.py: place.path[0] in adapter.secrets",
}


def ending(node: ast.expr) -> str:
    """The last word of what an expression is called: `given_token`, `self.token`, `token()` and `token.encode()`."""
    match node:
        case ast.Call(func=ast.Attribute(value=held, attr="encode" | "decode" | "strip" | "get_secret_value")):
            return ending(held)
        case ast.Call(func=called):
            return ending(called)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name.lower().rpartition("_")[2]
        case ast.Subscript(value=held):
            return ending(held)
    return ""


def is_secret(side: ast.expr) -> bool:
    return ending(side).removesuffix("s") in SECRETS


def compared(text: str) -> Iterator[str]:
    """Comparisons that end at the first difference, of something that is called a secret, on either side."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Compare(ops=[ast.Eq() | ast.NotEq() | ast.In()], left=left, comparators=[right]) if is_secret(
                left
            ) or is_secret(right):
                yield ast.unparse(node)


@pytest.mark.parametrize(
    "text", ["given == token", "self.mac != x", "x == wanted_mac()", "a in tokens", "a == b.digest()"]
)
def test_a_comparison_of_secrets_is_found_on_either_side(text: str) -> None:
    assert list(compared(text)) == [text]


def test_secrets_and_macs_are_compared_in_constant_time() -> None:
    """Wherever a token, MAC, signature or password is compared, `hmac.compare_digest` does it."""
    found = {f"{path.relative_to(ROOT)}: {line}" for path, text in sources().items() for line in compared(text)}
    assert found == NO_SECRETS


# ---- printed ACLs ----------------------------------------------------------------------------------


def test_acls_are_printed_as_commands_of_kafkas_own_tool_and_nothing_is_touched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("STOPLOSS_HOME", str(tmp_path))
    running.acls(show=True, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert (
        "kafka-acls --bootstrap-server HOST:PORT --add --allow-principal User:stoploss-default-judge "
        "--operation Write --topic stoploss.control --resource-pattern-type literal"
    ) in lines
    running.acls(show=True, as_json=True)
    assert len(json.loads(capsys.readouterr().out)["acls"]) == len(lines)
