"""A schema registry that wants a login: it gets it, nobody else does, and no line shows it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from stoploss.errors import ConfigurationError
from stoploss.settings import load
from stoploss.wire import schemas
from stoploss.wire.registry_address import RegistryAddress, basic, bearer
from streams.schema_registry import SchemaRegistry
from tests.cli.conftest import Program

SECRET = "hunter2"
LOGIN = {"schema_registry_user": "ada", "schema_registry_password": SECRET}


class Guarded:
    """Knows no subject and one schema, and lets nobody in without the header; /moved leads to `elsewhere`."""

    def __init__(self, wanted: str, elsewhere: str = "") -> None:
        self.seen: list[str | None] = []
        guarded = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                guarded.seen.append(self.headers.get("Authorization"))
                if guarded.seen[-1] != wanted:
                    self.reply(401, {"message": "who are you?"})
                elif elsewhere:
                    self.reply(302, {}, Location=elsewhere + self.path)
                elif self.path == "/schemas/ids/1":
                    self.reply(200, {"schema": json.dumps(schemas.schema("trace").source)})
                else:
                    self.reply(404, {"error_code": 40401})

            def do_GET(self) -> None:
                self.answer()

            def do_POST(self) -> None:
                self.answer()

            def reply(self, status: int, body: object, **headers: str) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments: Any) -> None:
                """Nothing on stderr."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Guarded:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    with Guarded(basic("ada", SECRET)) as served:
        yield served


def test_the_hot_path_reads_schemas_with_user_and_password(guarded: Guarded, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{SECRET}\n")
    given = {"schema_registry_user": "ada", "schema_registry_password_file": tmp_path / "password"}
    address = load(schema_registry=guarded.url, **given).registry()
    assert address is not None
    assert SchemaRegistry(address)(1) is not None


def test_a_bearer_token_is_sent_as_one(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{SECRET}\n")
    with Guarded(bearer(SECRET)) as served:
        address = load(schema_registry=served.url, schema_registry_token_file=tmp_path / "token").registry()
        assert address is not None
        assert SchemaRegistry(address)(1) is not None


def test_check_asks_with_the_login_and_prints_none_of_it(stoploss: Program, guarded: Guarded) -> None:
    ended = stoploss.set(**LOGIN)("schemas", "check", "--registry", guarded.url, "--json")
    assert ended.code == 3, ended.err
    assert {row["state"] for row in json.loads(ended.out)["subjects"]} == {"missing"}
    assert SECRET not in ended.out + ended.err


@pytest.mark.parametrize("command", ["push", "check"])
def test_without_the_right_login_the_settings_are_named(stoploss: Program, guarded: Guarded, command: str) -> None:
    for given in ({}, {**LOGIN, "schema_registry_password": "wrong-one"}):
        ended = stoploss.set(**given)("schemas", command, "--registry", guarded.url)
        assert ended.code == 1
        assert "answers 401: who are you?; set STOPLOSS_SCHEMA_REGISTRY_USER" in ended.sentence
        assert "wrong-one" not in ended.err


def test_a_redirect_is_followed_without_the_login() -> None:
    with Guarded("nobody") as other, Guarded(basic("ada", SECRET), other.url) as served:
        with capture_logs() as lines:
            assert SchemaRegistry(RegistryAddress(served.url, basic("ada", SECRET)))(1) is None
        assert (len(served.seen), other.seen) == (1, [None])
    assert SECRET not in str(lines)
    assert basic("ada", SECRET) not in str(lines)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"schema_registry_user": "ada"}, "belong together"),
        ({"schema_registry_password": SECRET}, "belong together"),
        ({**LOGIN, "schema_registry_token": SECRET}, "both set; keep one"),
        ({"schema_registry_token": SECRET, "schema_registry": None}, "a login without STOPLOSS_SCHEMA_REGISTRY"),
        ({"schema_registry": f"http://ada:{SECRET}@registry:8081"}, "say it in STOPLOSS_SCHEMA_REGISTRY_USER"),
    ],
)
def test_half_a_login_is_refused_with_the_way_out(given: dict[str, Any], says: str) -> None:
    settings = load(**{"schema_registry": "http://registry:8081", **given})
    with pytest.raises(ConfigurationError, match=says) as refused:
        settings.registry()
    assert SECRET not in str(refused.value)


def test_neither_settings_nor_the_address_show_the_login(stoploss: Program) -> None:
    settings = load(schema_registry="http://registry:8081", **LOGIN)
    assert SECRET not in repr(settings)
    assert repr(settings.registry()) == "'http://registry:8081'"
    ended = stoploss.set(**LOGIN)("settings")
    assert "(hidden)" in ended.out
    assert SECRET not in ended.out + ended.err
