"""Search by word in everything that is recorded of experiments: specs, findings, requests, notes and lessons.

Words are compared whole, in lower case. The journal of an experiment is thousands of sentences at most, so they are
read as they are and need no index, which a table that replaces rows could not use anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from clickhouse_connect.driver.client import Client

from stoploss.knowledge.past import READABLE, TOLD
from stoploss.knowledge.words import words
from stoploss.store.query import Query
from stoploss.suppression import MINIMUM_CELL

MOST_WORDS = 32


@dataclass(frozen=True, slots=True)
class Hit:
    """An experiment that has words of the query.

    found  the words that it has
    texts  how many of its texts have one
    kind   of the best text: spec, finding or request; best: what it says, and at: when
    """

    experiment: str
    found: list[str]
    texts: int
    kind: str
    best: str
    at: datetime


HITS = Query(
    Hit,
    f"""
SELECT experiment, groupUniqArrayArray(words_found) AS found, toInt64(count()) AS texts,
    argMax(kind_, (length(words_found), at_)) AS kind, argMax(text, (length(words_found), at_)) AS best,
    argMax(at_, (length(words_found), at_)) AS at
FROM (
    SELECT experiment, kind_, at_, text,
        arrayFilter(w -> has({{words:Array(String)}}, w),
            arrayDistinct(extractAll(lowerUTF8(text), '[\\\\p{{L}}\\\\p{{N}}]+'))) AS words_found
    FROM (
        SELECT experiment, 'spec' AS kind_, min(changed_at) AS at_, spec AS text
        FROM registry_v GROUP BY experiment, spec
        UNION ALL
        SELECT experiment, if(kind = 'finding', 'finding', 'request') AS kind_, at AS at_, {TOLD} AS text
        FROM journal_v AS j WHERE kind IN ('finding', 'request_handled') AND {READABLE}
    )
    WHERE notEmpty(words_found)
)
GROUP BY experiment
ORDER BY length(found) DESC, texts DESC, at DESC, experiment
LIMIT {{most:Int64}}
""",
)


def search(client: Client, query: str, most: int) -> list[Hit]:
    """Experiments that have words of the query, those with the most of them first."""
    wanted: Sequence[str] = words(query)[:MOST_WORDS]
    if not wanted:
        return []
    return HITS.run(client, words=wanted, most=most, minimum_cell=MINIMUM_CELL)
