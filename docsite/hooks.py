"""What mkdocs calls while it builds: https://www.mkdocs.org/dev-guide/plugins/#events."""

from __future__ import annotations

from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docsite import links, reference


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Pages that nobody has put into the navigation stand at its end, rather than nowhere."""
    named = set(_named(config.nav))
    rest = sorted(path.name for path in links.DOCS.glob("*.md") if path.name not in named)
    if rest and config.nav is not None:
        config.nav.append({"More": rest})
    return config


def _named(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav or ()
    return [name for part in parts for name in _named(part)]


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """The reference, as the code has it now, and the files of the project that are linked to."""
    for name, text in reference.pages().items():
        files.append(File.generated(config, name, content=text))
    written = [f"docs/{file.src_uri}" for file in files.documentation_pages() if file.generated_by is None]
    placed = [links.path_of(name) for name in _named(config.nav) if name.startswith(links.PLACE)]
    for path in sorted({*links.linked(written + placed), *placed, *reference.FILES}):
        files.append(File.generated(config, links.place_of(path), abs_src_path=str(links.ROOT / path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, files: Files, **_: object) -> str:
    place = page.file.src_uri
    if place in reference.pages():
        return markdown
    return links.rewritten(markdown, links.path_of(place), lambda to: files.get_file_from_path(to) is not None)
