"""The path of a trace: its steps in order as one short value, so that the mix of paths can be a dimension.

A step is "tool:search"; one that is taken several times in a row is written once, with a plus. A path that is too long
for a segment's value keeps its beginning and is told apart by a hash of the whole.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
import polars as pl

from stoploss.intake import segments
from stoploss.intake.rows import Coded
from stoploss.intake.segments import LONGEST_BYTES
from stoploss.intake.steps import Steps

NO_STEPS = "no steps"
LONGEST_KEPT = 4_096
"""Characters of a path that is remembered with its short form; a longer one is a megabyte as likely as not."""
_DIGEST_BYTES = 6


def paths(steps: Steps) -> Coded:
    """The path of every row; a trace without steps has the path `no steps`."""
    whole = np.zeros(steps.height, object)
    whole[:] = NO_STEPS
    if len(steps):
        walked = _walked(steps)
        whole[walked["row"].to_numpy()] = walked["path"].to_list()
    place: dict[str, int] = {}
    codes = [place.setdefault(bounded(path), len(place)) for path in whole.tolist()]
    return Coded(tuple(place), np.array(codes, np.int32))


def _walked(steps: Steps) -> pl.DataFrame:
    """row, path: of the rows that have steps."""
    joined = steps.fields.select(pl.concat_str("kind", "name", separator=":")).to_series()
    taken, codes = segments.dictionary(joined)
    shown = np.array([segments.clean(step) for step in taken], object)
    starts = np.r_[True, (codes[1:] != codes[:-1]) | (steps.rows[1:] != steps.rows[:-1])]
    repeated = np.r_[~starts[1:], False]
    names = [f"{name}+" if more else name for name, more in zip(shown[codes[starts]], repeated[starts], strict=True)]
    walked = pl.DataFrame({"row": steps.rows[starts], "path": names})
    return walked.group_by("row", maintain_order=True).agg(pl.col("path").str.join("/"))


def bounded(path: str) -> str:
    """A path of at most LONGEST_BYTES bytes.

    >>> bounded("model:large/tool:search")
    'model:large/tool:search'
    >>> bounded("tool:search/tool:compare/" * 9)
    'tool:search/tool:compare/tool:search/tool:compare/ @30402665849d'
    """
    return _bounded(path) if len(path) <= LONGEST_KEPT else _bounded.__wrapped__(path)


@lru_cache(maxsize=8_192)
def _bounded(path: str) -> str:
    raw = path.encode()
    if len(raw) <= LONGEST_BYTES:
        return path
    digest = hashlib.blake2b(raw, digest_size=_DIGEST_BYTES).hexdigest()
    kept = raw[: LONGEST_BYTES - len(digest) - 2].decode(errors="ignore")
    return f"{kept} @{digest}"
