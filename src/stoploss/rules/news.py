"""Whether a rule has anything new to say: most have not with most entries, and need not be asked."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Newsworthy:
    """The part that the states of all rules share.

    news  a verdict may differ from what was said last; set by whatever changes one between two ticks, cleared when the
          rule is judged. At ticks every rule is asked. To be too often true costs time, too seldom a late verdict.
    """

    news: bool = field(default=True, compare=False, metadata={"transient": True})
