"""A review as one HTML file: what the Markdown says, with pictures. Nothing in it is fetched from anywhere.

The pictures are drawn by plotly's own script, which the file carries, from data that it carries too; what they show is
in the tables beside them as well, for readers without a script and for paper.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stoploss import __version__
from stoploss.errors import ConfigurationError
from stoploss.review.blocks import Block, Heading, Item, Items, blocks
from stoploss.review.document import Review
from stoploss.review.drawn import Curve, Forest
from stoploss.review.markdown import markdown
from stoploss.review.pictures import Picture
from stoploss.review.plain import plain
from stoploss.review.words import utc

HERE = Path(__file__).parent
STATIC = HERE / "static"
SHOWN_IN = (
    ("exposure", "Exposure over time"),
    ("effect-", "Guardrails"),
    ("arms-", "Results"),
    ("budget-", "Budgets"),
    ("forest-", "Segments"),
    ("price-", "Worth of B"),
)
"""The section in which a picture stands, by what its key begins with."""
Drawing = Picture | Forest | Curve


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    anchor: str
    drawings: tuple[Drawing, ...]
    blocks: tuple[Block, ...]


def html(review: Review) -> str:
    """The whole file; raises ConfigurationError where jinja2 or plotly is not installed."""
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError as error:
        raise ConfigurationError(
            "a review as HTML needs stoploss[console]; install it, or write .md or .json"
        ) from error
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["utc"] = utc
    title, template, sections = parts(review)
    ours = {name: Markup(text) for name, text in _own_texts(review).items()}
    return made.get_template("review.html").render(
        title=title,
        template=template,
        sections=sections,
        version=__version__,
        minimum_cell=review.minimum_cell,
        **ours,
    )


def _own_texts(review: Review) -> dict[str, str]:
    """What goes into the file as it stands: our own files, plotly's, and data in which nothing can end a script."""
    data = json.dumps(plain(list(review.drawings.all)), ensure_ascii=True, allow_nan=False)
    return {
        "css": (STATIC / "review.css").read_text(encoding="utf-8"),
        "drawing_js": (STATIC / "drawing.js").read_text(encoding="utf-8"),
        "review_js": (STATIC / "review.js").read_text(encoding="utf-8"),
        "plotly": plotly_path().read_text(encoding="utf-8"),
        "drawings": data.replace("<", "\\u003c"),
    }


@cache
def plotly_path() -> Path:
    """Of the script in plotly's package, which is not imported for it; raises ConfigurationError where it is not."""
    found = importlib.util.find_spec("plotly")
    if found is None or not found.submodule_search_locations:
        raise ConfigurationError("plotly is not installed; install stoploss[console]")
    return Path(found.submodule_search_locations[0]) / "package_data" / "plotly.min.js"


def parts(review: Review) -> tuple[str, tuple[Item, ...], tuple[Section, ...]]:
    """Title, the lines of the template, and the sections with their pictures."""
    found = list(blocks(markdown(review)))
    title = next(block.text for block in found if isinstance(block, Heading))
    template = next(block.items for block in found if isinstance(block, Items))
    return title, template, tuple(_sections(found, review.drawings.all))


def _sections(found: Sequence[Block], drawings: Sequence[Drawing]) -> Iterator[Section]:
    """A section begins with a heading of the second level."""
    begins = [place for place, block in enumerate(found) if isinstance(block, Heading) and block.level == 2]
    for begin, end in zip(begins, [*begins[1:], len(found)], strict=True):
        heading = found[begin]
        if isinstance(heading, Heading):
            shown = tuple(one for one in drawings if _section_of(one.key) == heading.text)
            yield Section(heading.text, _anchor(heading.text), shown, tuple(found[begin + 1 : end]))


def _section_of(key: str) -> str:
    return next(title for begins, title in SHOWN_IN if key.startswith(begins))


def _anchor(title: str) -> str:
    """
    >>> _anchor("What is not known")
    'what-is-not-known'
    """
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
