"""A connection to ClickHouse over HTTP, embedded or real."""

from __future__ import annotations

import logging
import re
from typing import Any
from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from stoploss.errors import ConfigurationError

DEFAULT_DATABASE = "stoploss"
CONNECT_TIMEOUT_S = 5
PORTS = {"http": 8123, "https": 8443}
# The driver logs what it also raises; without a handler of the program's own that would land on stderr.
logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())
DATABASE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def connect(url: str, *, database: str = DEFAULT_DATABASE, answer_timeout_s: int = 60, why: str = "") -> Client:
    """Client for `http://[USER[:PASSWORD]@]HOST[:PORT]` whose statements run in `database`, which need not exist yet.

    why: what the statements are for; it stands in ClickHouse's own log of queries, beside the user.
    One client serves several threads: it keeps no session. Times come back aware, in UTC.
    Raises ConfigurationError where the address is none, nobody answers there, or the user is refused.
    """
    if not DATABASE_NAME.fullmatch(database):
        raise ConfigurationError(f"{database!r} is no database name; use letters, digits and '_', at most 64")
    parts = _parts(url)
    address = f"{parts['interface']}://{parts['host']}:{parts['port']}"
    try:
        client = clickhouse_connect.get_client(
            **parts,
            connect_timeout=CONNECT_TIMEOUT_S,
            send_receive_timeout=answer_timeout_s,
            autogenerate_session_id=False,
            tz_mode="aware",
        )
    except ClickHouseError as error:
        raise ConfigurationError(
            f"ClickHouse at {address} cannot be used ({_first_line(error)}); start it, or set STOPLOSS_CLICKHOUSE_URL "
            "to http://USER:PASSWORD@HOST:8123 of the one you have"
        ) from error
    if why:
        client.set_client_setting("log_comment", why)
    # Only now: the server refuses to be greeted in a database that migrate() has yet to create.
    client.database = database
    return client


def _parts(url: str) -> dict[str, Any]:
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError as error:
        raise ConfigurationError(f"the ClickHouse address has a port that is no number ({error})") from error
    if split.scheme not in PORTS or not split.hostname:
        # Never the address itself: it may hold a password.
        raise ConfigurationError("the ClickHouse address must read http://HOST:PORT or https://HOST:PORT")
    return {
        "interface": split.scheme,
        "host": split.hostname,
        "port": port or PORTS[split.scheme],
        "username": unquote(split.username or "default"),
        "password": unquote(split.password or ""),
    }


def _first_line(error: Exception) -> str:
    """The cause without the urllib3 objects that the driver prints around it."""
    text = (str(error) or type(error).__name__).splitlines()[0]
    known = re.search(r"(Connection refused|timed out|Name or service not known|Authentication failed)", text)
    return known[1].lower() if known else text[:200]
