"""The stock client works unchanged, and errors are ClickHouse's own."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import clickhouse_connect
import lz4.frame  # type: ignore[import-untyped]
import pyarrow as pa
import pytest
import zstandard
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from clickhouse_connect.driver.external import ExternalData

from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.embedded.clickhouse_request import HEAD_BYTES

from .asking import ask
from .processes import wait_until

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
    "lz4": lz4.frame.compress,
}
DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompress(data),
    "lz4": lz4.frame.decompress,
}


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedClickHouse]:
    """In a directory whose name would be a pattern of files to ClickHouse."""
    with EmbeddedClickHouse(tmp_path_factory.mktemp("engine") / "dätä [1] {a,b}*") as service:
        yield service


@pytest.fixture
def client(clickhouse: EmbeddedClickHouse) -> Iterator[Client]:
    stock = connect(clickhouse)
    yield stock
    stock.close()


@pytest.fixture
def table(client: Client) -> str:
    client.command("CREATE OR REPLACE TABLE t (a UInt64, s String) ENGINE = MergeTree ORDER BY a")
    return "t"


def connect(clickhouse: EmbeddedClickHouse, **options: Any) -> Client:
    return clickhouse_connect.get_client(host="127.0.0.1", port=clickhouse.port, **options)


def rows_of(client: Client, table: str = "t") -> list[tuple[Any, ...]]:
    return [tuple(row) for row in client.query(f"SELECT * FROM {table} ORDER BY a").result_rows]


# The stock client


def test_the_stock_client_inserts_and_reads_rows_as_they_were(client: Client) -> None:
    client.command(
        "CREATE TABLE kinds (a UInt64, d Decimal(18, 6), n Nullable(Float64), m Map(String, String), "
        "l LowCardinality(String), t DateTime64(6, 'UTC'), r Array(Int32)) ENGINE = MergeTree ORDER BY a"
    )
    arrow = pa.table({"a": pa.array([7, 8], pa.uint64())})
    client.insert_arrow("kinds", arrow)
    written = client.insert("kinds", [[1, 2, None, {"k": "v"}, "x", 0, [1, -2]]], column_names=list("adnmltr"))
    assert written.written_rows == 1
    rows = client.query("SELECT a, n, m, l, toUnixTimestamp(t), r FROM kinds ORDER BY a").result_rows
    assert rows[0] == (1, None, {"k": "v"}, "x", 0, [1, -2])
    assert [row[0] for row in rows] == [1, 7, 8]
    assert client.query_arrow("SELECT a FROM kinds ORDER BY a").column("a").to_pylist() == [1, 7, 8]


def test_a_command_gives_its_value(client: Client) -> None:
    assert client.command("SELECT 40 + 2") == 42


def test_a_database_of_the_client_is_the_one_its_names_mean(clickhouse: EmbeddedClickHouse, client: Client) -> None:
    client.command("CREATE DATABASE IF NOT EXISTS `other base`")
    other = connect(clickhouse, database="other base")
    other.command("CREATE TABLE here (a Int8) ENGINE = MergeTree ORDER BY a")
    assert client.query("SELECT count() FROM `other base`.here").result_rows == [(0,)]
    with pytest.raises(DatabaseError) as raised:
        client.query("SELECT count() FROM here")
    assert raised.value.code == 60
    other.close()


@pytest.mark.parametrize(
    "value", ["it's", 'a "b"', "back\\slash", "tab\tline\nend", "\\N", "", "é✓", "FORMAT CSV", "x" * 40_000]
)
def test_a_bound_text_arrives_as_it_was(value: str, client: Client) -> None:
    """The longest one makes the client send a form."""
    assert client.query("SELECT {v:String}", parameters={"v": value}).result_rows == [(value,)]


def test_bound_values_of_other_types_arrive(client: Client) -> None:
    sql = "SELECT {n:Nullable(Int8)} IS NULL, {l:Array(String)}, {i:Int64} + 1, {f:Identifier} FROM (SELECT 5 AS five)"
    parameters = {"n": None, "l": ["a'", "b"], "i": -5, "f": "five"}
    assert client.query(sql, parameters=parameters).result_rows == [(True, ["a'", "b"], -4, 5)]


def test_parameters_name_the_table_of_an_insert_too(clickhouse: EmbeddedClickHouse, client: Client, table: str) -> None:
    status, _, body = ask(clickhouse, b"1,x\n", query="INSERT INTO {where:Identifier} FORMAT CSV", param_where=table)
    assert (status, body) == (200, b"")
    assert rows_of(client) == [(1, "x")]


def test_a_setting_holds_for_its_request_alone(client: Client) -> None:
    sql = "SELECT getSetting('max_block_size')"
    default = client.query(sql).result_rows
    assert client.query(sql, settings={"max_block_size": 77}).result_rows == [(77,)]
    assert client.query(sql).result_rows == default


def test_a_time_limit_is_obeyed(client: Client) -> None:
    with pytest.raises(DatabaseError) as raised:
        client.query(
            "SELECT sleepEachRow(0.2) FROM numbers(50)", settings={"max_execution_time": 1, "max_block_size": 1}
        )
    assert raised.value.code == 159


def test_arguments_of_the_interface_are_no_settings(clickhouse: EmbeddedClickHouse) -> None:
    names = ("session_id", "session_timeout", "quota_key", "wait_end_of_query", "buffer_size")
    settings = {"send_progress_in_http_headers": "1", "http_headers_progress_interval_ms": "10000", "async_insert": "1"}
    status, headers, body = ask(
        clickhouse, b"SELECT 1", arguments=dict.fromkeys(names, "1") | settings, query_id="mine"
    )
    assert (status, body, headers["X-ClickHouse-Query-Id"]) == (200, b"1\n", "mine")


def test_every_user_and_password_is_accepted(clickhouse: EmbeddedClickHouse) -> None:
    stranger = connect(clickhouse, username="somebody", password="something")
    assert stranger.command("SELECT 1") == 1
    stranger.close()
    headers = {"X-ClickHouse-User": "a", "X-ClickHouse-Key": "b"}
    assert ask(clickhouse, b"SELECT 1", headers=headers)[0] == 200


# The interface


@pytest.mark.parametrize(("method", "path"), [("GET", "/ping"), ("HEAD", "/ping"), ("GET", "/"), ("HEAD", "/")])
def test_it_says_ok(method: str, path: str, clickhouse: EmbeddedClickHouse) -> None:
    status, _, body = ask(clickhouse, method=method, path=path)
    assert (status, body) == (200, b"Ok.\n" if method == "GET" else b"")


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("", b"INSERT INTO t FORMAT CSV\n1,FORMAT\n"),
        ("INSERT INTO t FORMAT CSV", b"1,FORMAT\n"),
        ("INSERT INTO t", b"FORMAT CSV\n1,FORMAT\n"),
        ("INSERT INTO t (s, a) FORMAT JSONEachRow", b'{"a": 1, "s": "FORMAT"}'),
        ("INSERT INTO t SETTINGS max_threads = 1 FORMAT CSV", b"1,FORMAT\n"),
        ("INSERT INTO t VALUES (1, 'FORMAT')", b""),
        ("INSERT INTO t VALUES", b"(1, 'FORMAT')"),
        ("INSERT INTO t FORMAT Values", b"(1, 'FORMAT')"),
        ("", b"INSERT INTO t SELECT 1, 'FORMAT'"),
        ("", b"INSERT INTO t (a, s) /* FORMAT TSV */ FORMAT CSV\n1,FORMAT\n"),
        (f"INSERT INTO t /* {'long ' * 10_000} */ FORMAT CSV", b"1,FORMAT\n"),
        ("", b"INSERT INTO t /* " + b"x" * HEAD_BYTES + b" */ FORMAT CSV\n1,FORMAT\n"),
    ],
)
def test_every_form_of_insert_arrives(
    query: str, body: bytes, clickhouse: EmbeddedClickHouse, client: Client, table: str
) -> None:
    if len(query) > 8_000:  # too long for an address
        query, body = "", query.encode() + b"\n" + body
    arguments = {"max_query_size": str(4 * HEAD_BYTES)} | ({"query": query} if query else {})
    status, headers, answer = ask(clickhouse, body, arguments=arguments)
    assert (status, answer) == (200, b"")
    assert json.loads(headers["X-ClickHouse-Summary"])["written_rows"] == "1"
    assert rows_of(client) == [(1, "FORMAT")]


def test_the_border_of_the_rows_is_found_wherever_a_chunk_ends(
    clickhouse: EmbeddedClickHouse, client: Client, table: str
) -> None:
    """The head is cut before, within and after the format's name and the line break."""
    for cut in range(len(" FORMAT JSONEachRow\n") + 1):
        head = b"INSERT INTO t /*" + b"x" * (HEAD_BYTES - 20 - cut) + b"*/ FORMAT JSONEachRow\n"
        row = json.dumps({"a": cut, "s": "y" * 1000}).encode()
        assert ask(clickhouse, head + row, max_query_size=str(2 * HEAD_BYTES))[0] == 200
    assert [row[0] for row in rows_of(client)] == list(range(len(" FORMAT JSONEachRow\n") + 1))


def test_megabytes_of_rows_arrive_through_the_spool(clickhouse: EmbeddedClickHouse, client: Client, table: str) -> None:
    lines = b"".join(b"%d,%s\n" % (number, b"x" * 100) for number in range(200_000))
    assert len(lines) > 20_000_000
    status, _, body = ask(clickhouse, lines, query="INSERT INTO t FORMAT CSV")
    assert (status, body) == (200, b"")
    assert client.query("SELECT count(), sum(a) FROM t").result_rows == [(200_000, 19_999_900_000)]
    assert list((clickhouse.directory / "spool").iterdir()) == []


def test_an_upload_that_breaks_off_inserts_nothing(clickhouse: EmbeddedClickHouse, client: Client, table: str) -> None:
    with socket.create_connection(("127.0.0.1", clickhouse.port)) as upload:
        upload.sendall(
            b"POST /?query=INSERT+INTO+t+FORMAT+CSV HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Length: 1000\r\n\r\n1,a\n2,b\n"
        )
        upload.shutdown(socket.SHUT_WR)
        while upload.recv(65_536):  # until the server has let go of it
            pass
    assert rows_of(client) == []


@pytest.mark.parametrize("encoding", sorted(COMPRESS))
def test_rows_are_taken_compressed_with(
    encoding: str, clickhouse: EmbeddedClickHouse, client: Client, table: str
) -> None:
    """As one body, and as the stock client sends them."""
    body = COMPRESS[encoding](b"1,x\n")
    assert ask(clickhouse, body, query="INSERT INTO t FORMAT CSV", headers={"Content-Encoding": encoding})[0] == 200
    compressing = connect(clickhouse, compress=encoding if encoding != "deflate" else "gzip")  # it cannot send deflate
    compressing.insert("t", [[number, "y" * 50] for number in range(2, 50_002)], column_names=["a", "s"])
    compressing.close()
    assert client.query("SELECT count(), max(a) FROM t").result_rows == [(50_001, 50_001)]


@pytest.mark.parametrize("encoding", sorted(DECOMPRESS))
def test_answers_are_compressed_with(encoding: str, clickhouse: EmbeddedClickHouse) -> None:
    sql, accept = b"SELECT number FROM numbers(1000)", {"Accept-Encoding": f"br, {encoding};q=0.5"}
    _, plain_headers, plain = ask(clickhouse, sql, headers=accept)
    _, headers, packed = ask(clickhouse, sql, headers=accept, enable_http_compression="1")
    assert "Content-Encoding" not in plain_headers
    assert headers["Content-Encoding"] == encoding
    assert DECOMPRESS[encoding](packed) == plain


def test_a_body_of_several_frames_is_read_to_its_end(clickhouse: EmbeddedClickHouse) -> None:
    body = b"".join(lz4.frame.compress(part) for part in (b"SELECT ", b"1 + ", b"1"))
    assert ask(clickhouse, body, headers={"Content-Encoding": "lz4"})[2] == b"2\n"


@pytest.mark.parametrize(
    ("encoding", "body", "sentence"),
    [
        ("gzip", b"SELECT 1", b"the body is not gzip"),
        ("zstd", b"SELECT 1", b"the body is not zstd"),
        ("lz4", b"SELECT 1", b"the body is not lz4"),
        ("gzip", gzip.compress(b"SELECT 1", mtime=0)[:-6], b"ends in the middle of a frame"),
        ("br", b"SELECT 1", b"does not read Content-Encoding 'br'; send lz4, zstd, gzip, deflate or none"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_with_its_reason(
    encoding: str, body: bytes, sentence: bytes, clickhouse: EmbeddedClickHouse
) -> None:
    status, headers, text = ask(clickhouse, body, headers={"Content-Encoding": encoding})
    assert (status, headers["X-ClickHouse-Exception-Code"]) == (400, "271")
    assert sentence in text


@pytest.mark.parametrize(
    ("sql", "code", "name", "status"),
    [
        ("SELECT * FROM nowhere", 60, "UNKNOWN_TABLE", 404),
        ("SELECT * FROM no_base.t", 81, "UNKNOWN_DATABASE", 404),
        ("SELECT no_column", 47, "UNKNOWN_IDENTIFIER", 404),
        ("SELECT no_function()", 46, "UNKNOWN_FUNCTION", 404),
        ("SELECT 1 FORMAT NoFormat", 73, "UNKNOWN_FORMAT", 404),
        ("SELECT 1 SETTINGS no_setting = 1", 115, "UNKNOWN_SETTING", 404),
        ("SELEKT 1", 62, "SYNTAX_ERROR", 400),
        (" ", 62, "SYNTAX_ERROR", 400),
        ("SELECT toUInt8('x')", 6, "CANNOT_PARSE_TEXT", 400),
        ("SELECT throwIf(1)", 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO", 500),
        ("SELECT {x:UInt8}", 456, "UNKNOWN_QUERY_PARAMETER", 500),
        ("INSERT INTO nowhere FORMAT CSV\n1,2", 60, "UNKNOWN_TABLE", 404),
        ("INSERT INTO t FORMAT CSV\nx,y", 27, "CANNOT_PARSE_INPUT_ASSERTION_FAILED", 400),
    ],
)
def test_an_error_is_the_one_of_clickhouse(
    sql: str, code: int, name: str, status: int, clickhouse: EmbeddedClickHouse, table: str
) -> None:
    answered, headers, body = ask(clickhouse, sql.encode())
    assert (answered, headers["X-ClickHouse-Exception-Code"]) == (status, str(code))
    assert body.startswith(f"Code: {code}. DB::Exception: ".encode())
    assert f"({name})".encode() in body


@pytest.mark.parametrize("name", ["no_such_setting", "a;b"])
def test_an_unknown_setting_of_a_request_is_an_error(name: str, clickhouse: EmbeddedClickHouse) -> None:
    status, headers, body = ask(clickhouse, b"SELECT 1", arguments={name: "1"})
    assert (status, headers["X-ClickHouse-Exception-Code"]) == (404, "115")
    assert f"Unknown setting '{name}'".encode() in body


def test_a_get_may_read_but_not_write(clickhouse: EmbeddedClickHouse, table: str) -> None:
    assert ask(clickhouse, method="GET", query="SELECT 1")[2] == b"1\n"
    for statement in ("INSERT INTO t VALUES (1, 'x')", "DROP TABLE t", "INSERT INTO t FORMAT CSV 1,x"):
        status, headers, _ = ask(clickhouse, method="GET", query=statement)
        assert (status, headers["X-ClickHouse-Exception-Code"]) == (500, "164")


def test_the_format_is_the_one_of_the_statement_then_of_the_request(clickhouse: EmbeddedClickHouse) -> None:
    def answer(sql: bytes, headers: dict[str, str] | None = None, default_format: str = "") -> tuple[bytes, str]:
        _, got, body = ask(clickhouse, sql, headers=headers, default_format=default_format)
        return body, got["X-ClickHouse-Format"]

    assert answer(b"SELECT 1 AS x") == (b"1\n", "TabSeparated")
    assert answer(b"SELECT 1 AS x", default_format="JSONEachRow") == (b'{"x":1}\n', "JSONEachRow")
    assert answer(b"SELECT 1 AS x", {"X-ClickHouse-Format": "CSVWithNames"}) == (b'"x"\n1\n', "CSVWithNames")
    assert answer(b"SELECT 'FORMAT CSV' AS x FORMAT CSV;", default_format="JSON") == (b'"FORMAT CSV"\n', "CSV")


def test_the_hello_of_the_grafana_driver_is_answered_with_revision_0(clickhouse: EmbeddedClickHouse) -> None:
    hello = b"SELECT displayName(), version(), revision(), timezone()"
    _, _, plain = ask(clickhouse, hello)
    _, _, framed = ask(clickhouse, hello, client_protocol_version="54460")
    assert plain.split(b"\t")[2] != b"0"
    assert framed.split(b"\t")[2:] == [b"0", b"UTC\n"]


def test_what_it_does_not_do_is_refused_in_words(clickhouse: EmbeddedClickHouse, client: Client) -> None:
    for name in ("compress", "decompress", "role"):
        status, headers, _ = ask(clickhouse, b"SELECT 1", arguments={name: "1"})
        assert (status, headers["X-ClickHouse-Exception-Code"]) == (501, "48")
    extra = ExternalData(file_name="rows", data=b"1\n", fmt="CSV", structure="a UInt8")
    with pytest.raises(DatabaseError, match="takes no table along with a query"):
        client.query("SELECT * FROM rows", external_data=extra)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "host.docker.internal"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_a_request_that_a_web_page_sends_is_refused(headers: dict[str, str], clickhouse: EmbeddedClickHouse) -> None:
    """The last two are what an image of a page asks for: a statement in an address could send rows anywhere."""
    status, _, body = ask(clickhouse, b"SELECT 1", headers=headers)
    assert status == 403
    assert b"serves loopback only" in body


def test_it_says_in_its_log_that_it_is_loopback_only(clickhouse: EmbeddedClickHouse) -> None:
    assert f"on 127.0.0.1:{clickhouse.port}, loopback only" in clickhouse.log_path.read_text()


# Side by side


def test_a_reader_is_answered_while_an_insert_runs(clickhouse: EmbeddedClickHouse, client: Client, table: str) -> None:
    slow = b"INSERT INTO t SELECT number, toString(sleepEachRow(1)) FROM numbers(4) SETTINGS max_block_size = 1"
    writer = threading.Thread(target=ask, args=(clickhouse, slow))
    writer.start()
    running = "SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO t SELECT%'"
    wait_until(lambda: client.query(running).result_rows == [(1,)], what="the insert runs")
    assert client.query("SELECT count() FROM t").result_rows == [(0,)]
    assert writer.is_alive()
    writer.join()
    assert client.query("SELECT count() FROM t").result_rows == [(4,)]


def test_inserts_and_reads_from_many_threads_lose_nothing(
    clickhouse: EmbeddedClickHouse, client: Client, table: str
) -> None:
    def write(worker: int) -> None:
        mine = connect(clickhouse)
        for block in range(10):
            mine.insert("t", [[worker * 1000 + block, "x"]], column_names=["a", "s"])
            mine.query("SELECT count() FROM t")
        mine.close()

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row[0] for row in rows_of(client)] == sorted(w * 1000 + b for w in range(6) for b in range(10))
