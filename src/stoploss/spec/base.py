"""What every part of a spec is made of: the model that all parts share, names, durations and shares."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def parse_duration(value: Any) -> Any:
    """'90s', '2m', '24h' or '30d' as seconds.

    >>> parse_duration("24h")
    86400
    """
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+)([smhd])", value)):
        return int(match[1]) * UNITS[match[2]]
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"{value!r} is no duration; write a whole number and a unit, such as 90s, 2m, 24h or 30d")


def duration_text(seconds: int) -> str:
    """Seconds as people say them, to three digits, in the largest unit of which there are two.

    >>> duration_text(45), duration_text(90 * 60), duration_text(7 * 86_400)
    ('45 s', '90 min', '7 d')
    """
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds} s"


def check_name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError(f"{value!r} is no name; use a-z, 0-9 and '-', at most 63 characters")
    return value


Written = Annotated[str, Field(pattern=r"^[0-9]+[smhd]$")] | Annotated[int, Field(gt=0)]
Seconds = Annotated[
    int, Field(gt=0, le=3_650 * 86_400), BeforeValidator(parse_duration, json_schema_input_type=Written)
]
Share = Annotated[float, Field(ge=0, le=1)]
Alpha = Annotated[float, Field(ge=1e-9, le=0.2)]
Name = Annotated[str, AfterValidator(check_name)]


class Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, allow_inf_nan=False
    )
