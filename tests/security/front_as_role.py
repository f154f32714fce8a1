"""The embedded engine's front under a file of users: `python front_as_role.py DIRECTORY PORT CONFIG`.

The engine takes a configuration as ClickHouse's server does, so grants hold. It has one user, `default`: what that user
may do is what the file says.
"""

from __future__ import annotations

import sys
from pathlib import Path

from aiohttp import web

from stoploss.embedded.clickhouse_engine import Engine
from stoploss.embedded.clickhouse_http import Front
from stoploss.embedded.ports import LOOPBACK

if __name__ == "__main__":
    directory, port, config = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    spool = directory / "spool"
    spool.mkdir(exist_ok=True)
    front = Front(Engine(directory / f"data?config-file={config}"), spool)
    web.run_app(front.application(), host=LOOPBACK, port=port, print=None, access_log=None, auto_decompress=False)
