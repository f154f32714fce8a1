"""Judged experiments that the dashboards are asked about: what the real judge made of them, as recorders store it."""

from __future__ import annotations

import numpy as np
from clickhouse_connect.driver.client import Client

from stoploss.store import inserts
from tests.review import stories
from tests.timelines import Timeline, Traces, spec, traces

DRIFTING = spec(
    """
drift: [{metric: output_tokens, action: none}, {mix: language, action: none}]
health: {sampleRatio: off, judgeReference: {score: regrade}}
"""
)
LANGUAGES = ("de", "en", "fr")
USUAL, OTHER = (0.6, 0.3, 0.1), (0.2, 0.3, 0.5)
ITEMS = np.random.default_rng(1).integers(0, 2**64, 200, dtype=np.uint64)


def record(client: Client, *told: Timeline) -> None:
    """As the recorder writes it; each story has a partition of its own."""
    for partition, story in enumerate(told):
        for stream, found in stories.streams_of(story, partition).items():
            inserts.insert(client, inserts.encode(stream, found))


def drifted() -> Timeline:
    """Users of both arms come from elsewhere, the treatment says more, and the judge grades known items higher."""
    story = Timeline(DRIFTING)
    story.at = stories.BEGIN
    story.started()
    for second in range(22):
        after = second >= 8
        story.seconds(1)
        story.traces(_of_new_users(second + 1, OTHER if after else USUAL, (225, 325) if after else (225, 225)))
        story.traces(_regrades(second, 0.05), outcomes=True)
    story.seconds(1)
    return story


def _of_new_users(seed: int, mix: tuple[float, ...], tokens: tuple[int, int]) -> Traces:
    some = traces(400, seed=seed, users=20_000, population=seed, tokens=tokens)
    some.segments["language"] = np.random.default_rng(seed).choice(LANGUAGES, some.rows, p=mix).tolist()
    return some


def _regrades(seed: int, shift: float) -> Traces:
    """Items of the frozen set graded anew: the new grade less the first one, in points."""
    rng = np.random.default_rng(seed)
    differences = np.rint((shift + rng.normal(0, 0.1, 50)) * 1e6).astype(np.int64)
    return Traces(rng.integers(0, 2, 50).astype(np.uint8), rng.choice(ITEMS, 50), {"regrade": differences})
