"""Links that leave docs/: the site has a copy of each file that a page links to, so it is whole without a network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from posixpath import normpath, relpath

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PLACE = "project/"
"""Where in the site copies of other files of the project stand."""

_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s#]+)(#[^)]*)?\)")


def place_of(path: str) -> str:
    """Where the site has a file of the project, by its path from the root.

    >>> place_of("docs/alerts.md"), place_of("deploy/prices.yaml"), place_of("SECURITY.md")
    ('alerts.md', 'project/deploy/prices.yaml', 'project/SECURITY.md')
    """
    return path.removeprefix("docs/") if path.startswith("docs/") else PLACE + path


def path_of(place: str) -> str:
    """The inverse of place_of.

    >>> path_of("alerts.md"), path_of("project/deploy/prices.yaml")
    ('docs/alerts.md', 'deploy/prices.yaml')
    """
    return place.removeprefix(PLACE) if place.startswith(PLACE) else f"docs/{place}"


def targets(markdown: str, path: str) -> Iterator[str]:
    """Files and folders of the project that a document links to, by their paths from the root.

    >>> list(targets("[a](../deploy/prices.yaml) [b](alerts.md#x) [c](https://example.org)", "docs/x.md"))
    ['deploy/prices.yaml', 'docs/alerts.md']
    """
    for _, to, _ in _LINK.findall(markdown):
        if "://" not in to:
            yield normpath(f"{Path(path).parent.as_posix()}/{to}")


def linked(paths: list[str]) -> set[str]:
    """Files outside of docs/ that these documents link to, directly or by one another."""
    found: set[str] = set()
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        new = {to for to in targets((ROOT / path).read_text(), path) if (ROOT / to).is_file()} - found
        found |= new
        waiting += [to for to in new if to.endswith(".md")]
    return {path for path in found if not path.startswith("docs/")}


def rewritten(markdown: str, path: str, has: Callable[[str], bool]) -> str:
    """A document with its links as the site has them. What the site lacks, such as a folder, keeps its words alone.

    >>> rewritten("[prices](../deploy/prices.yaml), [all](../deploy)", "docs/x.md", lambda place: "." in place)
    '[prices](project/deploy/prices.yaml), all'
    """

    def link(found: re.Match[str]) -> str:
        words, to, fragment = found.group(1), found.group(2), found.group(3) or ""
        if "://" in to:
            return found.group()
        place = place_of(normpath(f"{Path(path).parent.as_posix()}/{to}"))
        if not has(place):
            return words
        return f"[{words}]({relpath(place, Path(place_of(path)).parent.as_posix())}{fragment})"

    return _LINK.sub(link, markdown)
