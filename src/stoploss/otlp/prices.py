"""What a call of a model costs, by a table that its user edits: `prices.yaml`.

    models:
      gpt-4o-mini:
        - {from: 2024-07-18, input: 0.15, cached: 0.075, output: 0.60}    # US dollars per million tokens
      gpt-4o-mini-*: gpt-4o-mini                                          # same prices as

A name may end in `*`; the longest that fits counts. A model that the table lacks, or a day before its first price, has
no cost: null, never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stoploss.errors import ConfigurationError

PER_TOKENS = 1_000_000
DAY_NS = 86_400 * 10**9
LONGEST_REMEMBERED = 128
Dollars = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class Price(BaseModel):
    """Dollars per million tokens from a day on (UTC). Without `cached`, tokens from the cache cost as others do."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    since: date = Field(alias="from")
    input: Dollars
    output: Dollars
    cached: Dollars | None = None

    def cost_usd(self, input_tokens: int, output_tokens: int, cached_tokens: int) -> float:
        """`cached_tokens` are among the input tokens.

        >>> price = Price(**{"from": date(2024, 7, 18)}, input=0.15, output=0.6, cached=0.075)
        >>> price.cost_usd(1_000_000, 100_000, 400_000)
        0.18
        """
        cached_tokens = min(cached_tokens, input_tokens)
        cached = self.input if self.cached is None else self.cached
        fresh = (input_tokens - cached_tokens) * self.input
        return (fresh + cached_tokens * cached + output_tokens * self.output) / PER_TOKENS


class PriceFile(BaseModel):
    """The file as it is written; a name as value means: the same prices as that model."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    models: dict[str, list[Price] | str]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for model, listed in self.models.items():
            if isinstance(listed, str) and not isinstance(self.models.get(listed), list):
                raise ValueError(f"model {model!r} has the prices of {listed!r}, which has none of its own")
            if isinstance(listed, list) and len({price.since for price in listed}) < max(1, len(listed)):
                raise ValueError(f"model {model!r} needs prices, each from a day of its own")
        return self

    def of(self, model: str) -> Sequence[Price]:
        listed = self.models[model]
        return self.of(listed) if isinstance(listed, str) else listed


@dataclass(frozen=True, eq=False)
class PriceTable:
    """exact, beginnings: prices by name and by what stands before `*`, newest first."""

    exact: Mapping[str, Sequence[Price]]
    beginnings: Mapping[str, Sequence[Price]]

    @classmethod
    def empty(cls) -> Self:
        return cls({}, {})

    @classmethod
    def of(cls, file: PriceFile) -> Self:
        newest = {
            model: tuple(sorted(file.of(model), key=lambda price: price.since, reverse=True)) for model in file.models
        }
        beginnings = {model[:-1]: prices for model, prices in newest.items() if model.endswith("*")}
        return cls({model: prices for model, prices in newest.items() if not model.endswith("*")}, beginnings)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises ConfigurationError with what is wrong, and where."""
        try:
            return cls.of(PriceFile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigurationError(f"the prices in {path} cannot be read: {error}") from error
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            raise ConfigurationError(f"the prices in {path} are wrong: {faults}") from error

    def price(self, model: str, at_ns: int) -> Price | None:
        """The price of a model on the day of a time; None where it has none."""
        day = at_ns // DAY_NS
        return self._known(model, day) if len(model) <= LONGEST_REMEMBERED else self._find(model, day)

    @cached_property
    def _known(self) -> Callable[[str, int], Price | None]:
        return lru_cache(maxsize=4_096)(self._find)

    def _find(self, model: str, day: int) -> Price | None:
        return next((price for price in self._prices(model) if price.since <= _date(day)), None)

    def _prices(self, model: str) -> Sequence[Price]:
        if (found := self.exact.get(model)) is not None:
            return found
        fitting = [beginning for beginning in self.beginnings if model.startswith(beginning)]
        return self.beginnings[max(fitting, key=len)] if fitting else ()


def _date(day: int) -> date:
    """Days since 1970; at most some thousand years of them, whatever a clock says."""
    return date(1970, 1, 1) + timedelta(days=min(day, 1_000_000))
