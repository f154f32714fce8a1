"""Whom an experiment may reach: the surface, the tenants and the users, as far as the spec names them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stoploss.spec.base import Part

Value = Annotated[str, Field(min_length=1, max_length=64)]
Values = Annotated[tuple[Value, ...], Field(min_length=1, max_length=256)]


class Traffic(Part):
    """What is not named is all there is: every tenant, every user. Without a surface, the flag is taken for it.

    It is what people declare, so that experiments keep apart; the flag's own targeting decides who is reached.

    surfaces  places in the product
    users     segments of users: values by dimension, such as language
    """

    surfaces: Values | None = None
    tenants: Values | None = None
    users: Annotated[dict[Value, Values], Field(max_length=16)] = Field(default_factory=dict)
