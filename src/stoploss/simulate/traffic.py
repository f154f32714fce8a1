"""Traffic: traces as services would send them, from a seed, in the order of their arrival."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from stoploss.commands import Micros
from stoploss.errors import ConfigurationError
from stoploss.simulate.arrivals import Arrivals
from stoploss.simulate.assign import Arms, Assigned
from stoploss.simulate.behaviour import ANSWERS, Behaviour
from stoploss.simulate.draws import Draw, draw_block, users_of
from stoploss.simulate.harm import Injected, Trace
from stoploss.simulate.population import Population, Users

DAY_S = 86_400.0
DRAWN = "simulated"
REPLAYED = "simulated-on-request-log"
"""Service names, which label every trace for what it is."""


class Simulated(NamedTuple):
    """A trace to be sent.

    offset_s  when, in seconds after the traffic's start
    trace     fields of schemas/trace.avsc
    harmed    names of the experiments in which an injected harm changed it
    """

    offset_s: float
    trace: Trace
    harmed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests to a service under one or several experiments; the same seed and assignments give the same traces.

    seed        of everything that is drawn; two traffics of one seed differ only by assignment and harm
    arms        the experiments; a request takes part in all of them, and the variant of the first one whose arms
                differ in their model names it
    harms       what is wrong, where and from when on
    arrivals    a request log whose times and token counts stand for the drawn ones; None: a Poisson process
    starts_at   wall clock at offset 0, microseconds since 1970-01-01 UTC
    rate_per_s  mean requests a second, and the share by which it rises and falls within a day (0: never);
                both unused with `arrivals`
    """

    seed: int
    arms: tuple[Arms, ...]
    harms: tuple[Injected, ...] = ()
    population: Population = field(default_factory=Population)
    behaviour: Behaviour = field(default_factory=Behaviour)
    arrivals: Arrivals | None = None
    starts_at: Micros = 0
    rate_per_s: float = 20.0
    daily_swing: float = 0.0

    def __post_init__(self) -> None:
        if not self.rate_per_s > 0 or not 0 <= self.daily_swing < 1:
            raise ConfigurationError(
                f"traffic of {self.rate_per_s} requests a second with a daily swing of {self.daily_swing} cannot be; "
                "the rate must be above 0, the swing at least 0 and below 1"
            )
        unknown = {harm.experiment for harm in self.harms} - {arm.experiment for arm in self.arms}
        if unknown:
            raise ConfigurationError(f"harm is injected in {sorted(unknown)}, which the traffic has no arms of")

    def batches(self, traces: int | None = None, size: int = 100) -> Iterator[list[Simulated]]:
        """The traffic in lists of `size` requests, in which silenced ones are missing; lists may be empty.

        traces  how many requests arrive, silenced ones included; None: all of the log, or for ever
        Each list is made when it is asked for, and asks for assignments then.
        """
        stream = itertools.islice(self._stream(), traces)
        while batch := list(itertools.islice(stream, size)):
            yield [simulated for simulated in batch if simulated is not None]

    def traces(self, n: int | None = None) -> Iterator[Simulated]:
        """The traffic, one by one."""
        return itertools.chain.from_iterable(self.batches(n, size=1))

    def _stream(self) -> Iterator[Simulated | None]:
        users = users_of(self.seed, self.population)
        for offset_s, request in self._arriving(users):
            yield self._simulated(offset_s, request, users)

    def _arriving(self, users: Users) -> Iterator[tuple[float, _Request]]:
        draws = self._draws(users)
        if self.arrivals is not None:
            for (offset_s, *tokens), draw in zip(self.arrivals, draws, strict=False):
                yield offset_s, _Request(draw, *tokens)
            return
        offset_s = 0.0
        for draw in draws:
            offset_s += draw.gap / self._rate_per_s(offset_s)
            yield offset_s, _Request(draw, draw.input_tokens, draw.output_tokens)

    def _draws(self, users: Users) -> Iterator[Draw]:
        for block in itertools.count():
            yield from draw_block(self.seed, block, self.behaviour, self.population, users)

    def _rate_per_s(self, offset_s: float) -> float:
        """At its mean at the start, rising."""
        return self.rate_per_s * (1 + self.daily_swing * math.sin(2 * math.pi * offset_s / DAY_S))

    def _simulated(self, offset_s: float, request: _Request, users: Users) -> Simulated | None:
        unit_id = f"user-{request.draw.user:06d}"
        assigned = [arms.assign(unit_id) for arms in self.arms]
        treated = {arms.experiment for arms, a in zip(self.arms, assigned, strict=True) if a.variant == arms.treatment}
        trace = self._healthy(offset_s, request, users, assigned)
        harmed: list[str] = []
        for harm in self.harms:
            is_treatment = harm.experiment in treated
            struck = harm.strike(trace, offset_s, is_treatment=is_treatment, chances=request.draw.harm)
            if struck is None:
                return None
            if struck is not trace:
                harmed.append(harm.experiment)
            trace = struck
        return Simulated(offset_s, trace, tuple(harmed))

    def _healthy(self, offset_s: float, request: _Request, users: Users, assigned: Sequence[Assigned]) -> Trace:
        draw = request.draw
        first = self.arms[0] if self.arms else None
        model = self._model(assigned)
        first_token_ms, latency_ms = self._latency_ms(request)
        return {
            "trace_id": draw.trace_id,
            "at": self.starts_at + round(offset_s * 1e6),
            "service": DRAWN if self.arrivals is None else REPLAYED,
            "unit_id": f"user-{draw.user:06d}",
            "tenant": users.tenant[draw.user],
            "language": users.language[draw.user],
            "channel": users.channel[draw.user],
            "operation": "chat",
            "model": model,
            "latency_ms": latency_ms,
            "time_to_first_token_ms": first_token_ms,
            "input_tokens": request.input_tokens,
            "output_tokens": request.output_tokens,
            "cached_tokens": request.input_tokens // 2 if draw.is_cached else 0,
            "cost_usd": self.behaviour.cost_usd(model, request.input_tokens, request.output_tokens),
            "error_type": draw.error,
            "finish_reason": _finish_reason(draw),
            "output_text": ANSWERS[draw.answer % len(ANSWERS)] if draw.has_text and draw.error is None else None,
            "assignments": [_assignment(arms, a) for arms, a in zip(self.arms, assigned, strict=True)],
            "scores": _scores(self.arms, draw),
            "steps": _steps(first, draw),
        }

    def _model(self, assigned: Sequence[Assigned]) -> str:
        models = [arms.model(a.variant) for arms, a in zip(self.arms, assigned, strict=True)]
        chosen = (model for arms, model in zip(self.arms, models, strict=True) if arms.models_differ)
        return next(chosen, models[0] if models else "large-2")

    def _latency_ms(self, request: _Request) -> tuple[float, float]:
        """Time to the first and to the last token."""
        behaviour, factor = self.behaviour, request.draw.latency_factor
        first_ms = behaviour.first_token_ms + behaviour.per_input_token_ms * request.input_tokens
        return first_ms * factor, (first_ms + behaviour.per_output_token_ms * request.output_tokens) * factor


class _Request(NamedTuple):
    """A draw with the token counts that hold: its own, or the log's."""

    draw: Draw
    input_tokens: int
    output_tokens: int


def _finish_reason(draw: Draw) -> str:
    if draw.error is not None:
        return "error"
    return "content_filter" if draw.is_refused else "stop"


def _assignment(arms: Arms, assigned: Assigned) -> dict[str, Any]:
    return {
        "experiment": arms.experiment,
        "variant": assigned.variant,
        "consent": None,
        "run": assigned.run,
        "epoch": assigned.epoch,
    }


def _scores(all_arms: Sequence[Arms], draw: Draw) -> list[dict[str, Any]]:
    if draw.score is None or draw.error is not None:
        return []
    return [{"name": name, "value": draw.score} for name in dict.fromkeys(arms.score for arms in all_arms)]


def _steps(arms: Arms | None, draw: Draw) -> list[dict[str, Any]]:
    if arms is None or arms.tool is None:
        return []
    call = {"kind": "tool", "name": arms.tool, "outcome": "ok", "scope": arms.scope, "mcp_server": arms.mcp_server}
    return [dict(call) for _ in range(draw.steps)]
