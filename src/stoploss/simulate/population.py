"""Who asks: users with a tenant, a language and a channel, some of whom ask far more often than others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Population:
    """The users of a service.

    users          how many there are
    zipf_exponent  the k-th busiest user asks in proportion to k ** -zipf_exponent; 0: all alike
    icc            share of the variance of log latency and of scores that lies between users, in [0, 1): requests of
                   one user are alike, which is why the judge counts units and not requests
    tenants, languages, channels  each with falling shares, 1 : 1/2 : 1/3 : …
    """

    users: int = 10_000
    zipf_exponent: float = 0.8
    icc: float = 0.1
    tenants: tuple[str, ...] = ("acme", "zeta", "orion", "lumen", "nova")
    languages: tuple[str, ...] = ("en", "de", "fr", "es")
    channels: tuple[str, ...] = ("web", "app", "api")


@dataclass(frozen=True, slots=True)
class Users:
    """The drawn users, one entry per user; z-values are standard normal.

    reach  cumulative share of requests up to this user, ends at 1
    """

    reach: Floats
    tenant: tuple[str, ...]
    language: tuple[str, ...]
    channel: tuple[str, ...]
    latency_z: Floats
    score_z: Floats


def draw_users(population: Population, rng: np.random.Generator) -> Users:
    n = population.users
    weight = np.arange(1, n + 1, dtype=np.float64) ** -population.zipf_exponent
    reach = np.cumsum(weight) / weight.sum()
    return Users(
        reach=reach,
        tenant=_values(population.tenants, n, rng),
        language=_values(population.languages, n, rng),
        channel=_values(population.channels, n, rng),
        latency_z=rng.standard_normal(n),
        score_z=rng.standard_normal(n),
    )


def _values(values: tuple[str, ...], n: int, rng: np.random.Generator) -> tuple[str, ...]:
    share = 1.0 / np.arange(1, len(values) + 1)
    return tuple(rng.choice(np.array(values), size=n, p=share / share.sum()).tolist())


def user_of(users: Users, chance: Floats) -> Ints:
    """Which users ask, for chances in [0, 1)."""
    return np.minimum(np.searchsorted(users.reach, chance, side="right"), len(users.reach) - 1)
