"""Signed values as their exact bytes, with the header that verifies them: for archives and for verifying."""

from __future__ import annotations

from clickhouse_connect.driver.client import Client

from stoploss.checkpoints import SignedValue

_CHECKPOINTS = """
SELECT value, signature
FROM checkpoints_v
WHERE experiment = {experiment:String}
ORDER BY number, topic_uuid, partition, offset
"""

# A command that was sent again is the same command.
_COMMANDS = """
SELECT value, any(signature) AS signature
FROM commands_v
WHERE experiment = {experiment:String}
GROUP BY value
ORDER BY min(run), min(sequence), min(offset)
"""


def read_checkpoints(client: Client, experiment: str) -> list[SignedValue]:
    """In the order of the entries that they cover."""
    return _signed(client, _CHECKPOINTS, experiment)


def read_commands(client: Client, experiment: str) -> list[SignedValue]:
    """In the order of their runs and sequences, each once."""
    return _signed(client, _COMMANDS, experiment)


def _signed(client: Client, sql: str, experiment: str) -> list[SignedValue]:
    # As bytes: the driver would read a String as UTF-8, and as hex digits where it is none.
    result = client.query(
        sql, parameters={"experiment": experiment}, column_formats={"value": "bytes", "signature": "bytes"}
    )
    return [SignedValue(value, _text(signature)) for value, signature in result.result_rows]


def _text(header: bytes | None) -> str | None:
    return None if header is None else header.decode("ascii", "replace")
