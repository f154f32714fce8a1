"""Judged experiments that the dashboards are asked about: what the real judge made of them, as recorders store it."""

from __future__ import annotations

import numpy as np
from clickhouse_connect.driver.client import Client

from stoploss.store import inserts
from tests.review import stories
from tests.timelines import Timeline, Traces, spec, traces, with_gate

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


ROLLOUT = '{"decision": "rollout"}'


def stopped_falsely() -> Timeline:
    """A rule stops the run, and a person who has looked at it rolls out what was stopped."""
    story = _leaking("stopped-falsely")
    story.ask("complete", reason="the card number is our own test card", body=ROLLOUT)
    return story


def mended() -> Timeline:
    """A rule stops the run; another run of what was mended is rolled out."""
    story = _leaking("mended")
    story.ask("resume", reason="rollout, recommended was nothing, once this is seen to work")
    story.ack("flagd")
    story.traces(traces(30, seed=8, tenant="acme"))
    story.seconds(3)
    story.ask("complete", reason="mended, and as good", body=ROLLOUT)
    return story


def harmful_later() -> Timeline:
    """It is rolled out, and in the same run a rule stops it then."""
    return _leaking("harmful-later", rolled_out=True)


def _leaking(name: str, rolled_out: bool = False) -> Timeline:
    story = Timeline(stories.WATCHED.replace("name: checkout", f"name: {name}"))
    story.at = stories.BEGIN
    story.started()
    story.traces(traces(600, seed=1, tenant="acme"))
    story.seconds(11)
    if rolled_out:
        story.ask("complete", reason="as good", body=ROLLOUT)
    some = traces(20, seed=2, tenant="acme")
    story.traces(with_gate(some, int(some.variant.argmax()), 0))
    story.ack("flagd")
    story.seconds(2)
    return story
