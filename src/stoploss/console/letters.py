"""Dead letters as pages show them: counts and a list from ClickHouse, one with its bytes from Kafka."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from clickhouse_connect.driver.client import Client

from stoploss.store.query import Query

MOST_LETTERS = 100


@dataclass(frozen=True, slots=True)
class LetterLine:
    """A dead letter without its bytes.

    id  partition and offset on the topic of dead letters; empty: the recorder refused it, so it stands on no such topic
    """

    id: str
    at: datetime
    stage: str
    code: str
    reason: str
    source: str
    size: int


# An empty code or stage: of any.
LETTERS = Query(
    LetterLine,
    """
SELECT if(stage = 'recorder', '', concat(toString(partition), '-', toString(offset))) AS id, at, stage, code, reason,
    concat(source_topic, '/', toString(source_partition), '/', toString(source_offset)) AS source, size
FROM dead_letters_v
WHERE (empty({code:String}) OR code = {code:String}) AND (empty({stage:String}) OR stage = {stage:String})
ORDER BY at DESC, partition, offset
LIMIT {most:UInt32}
""",
)


def newest(client: Client, stage: str, code: str) -> Sequence[LetterLine]:
    return LETTERS.run(client, stage=stage, code=code, most=MOST_LETTERS)
