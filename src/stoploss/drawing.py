"""Pictures as SVG, black on white, without fonts or scripts of their own: what all of them are made of."""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

WIDTH = 900
INK, FAINT, GRID = "#1f2328", "#57606a", "#e4e7eb"
GREEN, AMBER, RED = "#1a7f5a", "#b26a00", "#b3261e"
STYLE = (
    f"text{{font:13px system-ui,sans-serif;fill:{INK}}}.s{{font-size:12px;fill:{FAINT}}}"
    ".h{font-size:17px;font-weight:600}"
)


def document(title: str, height: float, body: Iterable[str]) -> str:
    """A picture of WIDTH by `height`; the title is what a screen reader says of it."""
    inside = "\n".join(body)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label={quoteattr(title)}>\n'
        f'<style>{STYLE}</style>\n<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n{inside}\n</svg>\n'
    )


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """kind: "" for plain, "s" for small, "h" for the headline."""
    of = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{of}>{escape(words)}</text>'


def upright(x: float, top: float, bottom: float, colour: str = GRID, width: float = 1.0) -> str:
    thick = f' stroke-width="{width:g}"' if width != 1.0 else ""
    return f'<line x1="{x:.1f}" y1="{top:.1f}" x2="{x:.1f}" y2="{bottom:.1f}" stroke="{colour}"{thick}/>'


def bar(x: float, y: float, width: float, colour: str) -> str:
    """Ten high, its middle at y."""
    return f'<rect x="{x:.1f}" y="{y - 5:.1f}" width="{width:.1f}" height="10" rx="2" fill="{colour}"/>'


def dot(x: float, y: float, colour: str, radius: float = 5.0) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{colour}"/>'


def ring(x: float, y: float, colour: str, radius: float = 6.0) -> str:
    """Around a dot at the same place, both are seen."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="none" stroke="{colour}" stroke-width="2"/>'
