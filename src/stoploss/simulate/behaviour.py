"""How requests behave while nothing is wrong: tokens, latency, cost, errors, scores, steps, texts.

Tokens: lognormal, fitted to the conversation service of the Azure LLM inference trace 2023 (P. Patel et al.,
"Splitwise: Efficient Generative LLM Inference Using Phase Splitting", ISCA 2024): medians of 1,020 input and 129
output tokens as published there; the spread is the standard deviation of the logarithms of the 19,366 published
requests, 0.985 and 0.859, and the limits are their extremes. Everything else is assumed, for a service whose users
would call it healthy: no publication stands behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    input_usd: float
    output_usd: float

    def of(self, input_tokens: int, output_tokens: int) -> float:
        """Cost of a request, US dollars.

        >>> Price(0.50, 1.50).of(1_000_000, 2_000_000)
        3.5
        """
        return (input_tokens * self.input_usd + output_tokens * self.output_usd) / 1_000_000


PRICES: Mapping[str, Price] = {"large-2": Price(0.50, 1.50), "small-1": Price(0.17, 0.50)}
"""Of the example's two models: the smaller one at a third of the cost. Other models cost what large-2 costs."""


@dataclass(frozen=True, slots=True)
class Lognormal:
    """A positive whole number whose logarithm is normal: exp(ln(median) + sigma * z), cut to [least, most]."""

    median: float
    sigma: float
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What both arms do alike.

    first_token_ms        median time to the first token, and per_input_token_ms more for each token read
    per_output_token_ms   median time from token to token
    latency_sigma         standard deviation of the logarithm of both
    error_rate            share of requests that fail; their answer has no text and no score
    refusal_rate          share of the others that end as content_filter
    scored_share, score_mean, score_sd  of the quality score, cut to [0, 1]
    steps_share           share of requests that call a declared tool, once or twice
    text_share            share of requests whose output text is sent
    cached_share          share of requests that read half of their input from the provider's cache
    """

    input_tokens: Lognormal = Lognormal(1_020, 0.985, 2, 14_050)
    output_tokens: Lognormal = Lognormal(129, 0.859, 7, 1_000)
    first_token_ms: float = 150.0
    per_input_token_ms: float = 0.02
    per_output_token_ms: float = 3.0
    latency_sigma: float = 0.20
    error_rate: float = 0.02
    refusal_rate: float = 0.005
    scored_share: float = 0.9
    score_mean: float = 0.72
    score_sd: float = 0.15
    steps_share: float = 0.25
    text_share: float = 0.1
    cached_share: float = 0.2
    prices: Mapping[str, Price] = field(default_factory=lambda: PRICES)

    def cost_usd(self, model: str, input_tokens: int, output_tokens: int) -> float:
        return self.prices.get(model, PRICES["large-2"]).of(input_tokens, output_tokens)


ERRORS = ("timeout", "rate_limited", "provider_unavailable")

ANSWERS = (
    "Your parcel left the warehouse this morning and usually arrives within two working days.",
    "You can change the delivery address in your account until the parcel is handed to the carrier.",
    "This jacket is available in blue and in green; the green one is on sale this week.",
    "A refund goes back to the way you paid, as a rule within a week after we received the return.",
    "I found three matching products in the catalogue; the second one fits your description best.",
)
"""Output texts without personal data, so that every find in them is the injected harm."""
