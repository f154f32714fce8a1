"""Search in past experiments: their specs, and what the monitor and people said of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from clickhouse_connect.driver.client import Client

from stoploss.store.query import Query

LONGEST_SEARCH = 100
MOST_HITS = 50
_SHOWN = 160


@dataclass(frozen=True, slots=True)
class Hit:
    """An experiment that matches, with the newest text of each kind that does.

    where  'its spec' or the kind of the journal entry
    """

    experiment: str
    where: str
    at: datetime
    text: str


# Sentences of segments hold numbers that may be of a small cell: they are not searched, so they are not shown. Nor are
# the reasons of commands that repeat them.
SEARCH = Query(
    Hit,
    """
SELECT experiment, where, at, text FROM (
    SELECT experiment, 'its spec' AS where, max(r.changed_at) AS at, argMax(r.spec, r.changed_at) AS text
    FROM registry_v AS r
    WHERE positionCaseInsensitiveUTF8(experiment, {text:String}) > 0
        OR positionCaseInsensitiveUTF8(r.spec, {text:String}) > 0
    GROUP BY experiment
    UNION ALL
    SELECT experiment, kind, max(j.at), argMax(said, j.at) FROM (
        SELECT experiment, kind, at,
            if(kind = 'finding', sentence, concat(JSONExtractString(conclusion, 'by'), ' ',
                JSONExtractString(conclusion, 'action'), ': ', JSONExtractString(conclusion, 'reason'))) AS said
        FROM journal_v
        WHERE kind IN ('finding', 'request_handled', 'command_issued') AND isNull(segment_dimension)
            AND (kind != 'command_issued' OR command_id IN (
                SELECT command_id FROM commands_v WHERE isNull(segment_dimension)))
    ) AS j
    WHERE positionCaseInsensitiveUTF8(said, {text:String}) > 0
    GROUP BY experiment, kind
)
ORDER BY at DESC, experiment, where
LIMIT {most:UInt32}
""",
)


def search(client: Client, text: str) -> list[Hit]:
    return SEARCH.run(client, text=text[:LONGEST_SEARCH], most=MOST_HITS)


def excerpt(text: str, wanted: str) -> tuple[str, str, str]:
    """What stands before the found words, the words, and what stands behind; all of one line.

    >>> excerpt("The smaller model\\nanswers as well.", "MODEL")
    ('The smaller ', 'model', ' answers as well.')
    """
    line = " ".join(text.split())
    start = line.lower().find(wanted.lower())
    if start < 0:
        return line[:_SHOWN], "", ""
    end, first = start + len(wanted), max(0, start - _SHOWN // 2)
    before, behind = line[first:start], line[end : end + _SHOWN]
    return ("…" if first else "") + before, line[start:end], behind + ("…" if len(line) > end + _SHOWN else "")
