"""How far each stream is stored, so that a recorder that starts knows where it was."""

from __future__ import annotations

from clickhouse_connect.driver.client import Client

from stoploss.ledger import Source

POSITION_TABLE: dict[str, str] = {
    "ledger": "ledger",
    "journal": "journal",
    "checkpoints": "checkpoints",
    "measures": "measures_verdicts",
    "control": "commands",
    "acks": "acks",
    "registry": "registry",
    "deadletter": "dead_letters",
    "traces_clean": "clean_batches",
}
"""By stream (a topic without its prefix): the table that inserts.insert() fills last of those its records go to.

All streams that are recorded, and all tables whose positions may be asked for.
"""

_HIGHEST = """
SELECT topic, topic_uuid, partition, max(offset)
FROM {table:Identifier}
GROUP BY topic, topic_uuid, partition
"""


def highest_offsets(client: Client, stream: str) -> dict[Source, int]:
    """Highest stored offset by topic (with its UUID) and partition; all before it are stored too.

    It may lag where the last records were unreadable or said nothing: reading them again changes nothing.
    KeyError for a stream that is not recorded.
    """
    rows = client.query(_HIGHEST, parameters={"table": POSITION_TABLE[stream]}).result_rows
    return {Source(topic, topic_uuid, partition): offset for topic, topic_uuid, partition, offset in rows}
