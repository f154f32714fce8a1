"""Chance, in blocks: every trace owns its draws, whatever variant it gets and however traces are batched.

Block k of a stream is drawn by a generator seeded with (seed, k): the same seed gives the same traffic in any batch
size, and an assignment or a harm changes its own traces only, never the ones after them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stoploss.simulate.behaviour import ERRORS, Behaviour, Lognormal
from stoploss.simulate.population import Floats, Ints, Population, Users, draw_users, user_of

BLOCK = 1_024
USERS_STREAM, TRACES_STREAM = 0, 1


@dataclass(frozen=True, slots=True)
class Draw:
    """One trace before its variant is known.

    gap             to the trace before, in mean gaps
    latency_factor  of this request around the median, its user's part included
    harm            chances in [0, 1) for the injected harm, used by nothing else
    """

    trace_id: str
    user: int
    gap: float
    input_tokens: int
    output_tokens: int
    latency_factor: float
    error: str | None
    is_refused: bool
    score: float | None
    steps: int
    has_text: bool
    answer: int
    is_cached: bool
    harm: tuple[float, float]


def users_of(seed: int, population: Population) -> Users:
    return draw_users(population, _generator(seed, USERS_STREAM, 0))


def draw_block(seed: int, block: int, behaviour: Behaviour, population: Population, users: Users) -> list[Draw]:
    """The BLOCK traces of a block, in order."""
    rng = _generator(seed, TRACES_STREAM, block)
    user = user_of(users, rng.random(BLOCK))
    ids = rng.bytes(16 * BLOCK)
    error = rng.random(BLOCK) < behaviour.error_rate
    kinds = rng.integers(len(ERRORS), size=BLOCK).tolist()
    columns = (
        [ids[i : i + 16].hex() for i in range(0, len(ids), 16)],
        user.tolist(),
        rng.exponential(size=BLOCK).tolist(),
        _tokens(behaviour.input_tokens, rng).tolist(),
        _tokens(behaviour.output_tokens, rng).tolist(),
        _latency_factor(behaviour, population, users.latency_z[user], rng).tolist(),
        [ERRORS[kind] if failed else None for kind, failed in zip(kinds, error.tolist(), strict=True)],
        (rng.random(BLOCK) < behaviour.refusal_rate).tolist(),
        _scores(behaviour, population, users.score_z[user], rng),
        np.where(rng.random(BLOCK) < behaviour.steps_share, rng.integers(1, 3, size=BLOCK), 0).tolist(),
        (rng.random(BLOCK) < behaviour.text_share).tolist(),
        rng.integers(2**31, size=BLOCK).tolist(),
        (rng.random(BLOCK) < behaviour.cached_share).tolist(),
        list(map(tuple, rng.random((BLOCK, 2)).tolist())),
    )
    return [Draw(*row) for row in zip(*columns, strict=True)]


def _generator(seed: int, stream: int, block: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, stream, block))))


def _tokens(shape: Lognormal, rng: np.random.Generator) -> Ints:
    tokens = shape.median * np.exp(shape.sigma * rng.standard_normal(BLOCK))
    return np.clip(np.rint(tokens), shape.least, shape.most).astype(np.int64)


def _mixed(own: Floats, users: Floats, icc: float) -> Floats:
    """Standard normal again, of which the share `icc` of the variance is the user's."""
    mixed: Floats = np.sqrt(1 - icc) * own + np.sqrt(icc) * users
    return mixed


def _latency_factor(behaviour: Behaviour, population: Population, user_z: Floats, rng: np.random.Generator) -> Floats:
    factor: Floats = np.exp(behaviour.latency_sigma * _mixed(rng.standard_normal(BLOCK), user_z, population.icc))
    return factor


def _scores(
    behaviour: Behaviour, population: Population, user_z: Floats, rng: np.random.Generator
) -> list[float | None]:
    z = _mixed(rng.standard_normal(BLOCK), user_z, population.icc)
    scores = np.clip(behaviour.score_mean + behaviour.score_sd * z, 0, 1).tolist()
    scored = (rng.random(BLOCK) < behaviour.scored_share).tolist()
    return [score if has else None for score, has in zip(scores, scored, strict=True)]
