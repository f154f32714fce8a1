"""The pages that show something. Each reads, and hands what it read to a template."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from stoploss.cli import dead_letters, reading
from stoploss.console import letters, searching
from stoploss.console.asking import DONE, offers
from stoploss.console.deciding import decisions
from stoploss.console.guard import session_of
from stoploss.console.health import Health, Pulses, health, pulses
from stoploss.console.line import LINE_DONE, still_running
from stoploss.console.parts import Console, console_of
from stoploss.console.reads import Found, Standing, Told, tried
from stoploss.console.rendering import page
from stoploss.console.story import last_stop, links, timeline
from stoploss.console.tables import budget_rows, segment_table
from stoploss.console.waiting import waiting
from stoploss.lifecycle import LIVE, Lifecycle
from stoploss.review.blocks import blocks
from stoploss.review.errors import UnknownExperiment
from stoploss.review.markdown import markdown
from stoploss.review.pictures import Picture
from stoploss.review.plain import plain
from stoploss.store import queries

MOST_LISTED = 200
UNDER_WAY = LIVE | {Lifecycle.PAUSED}


@dataclass(frozen=True, slots=True)
class Row:
    """An experiment in the list."""

    standing: Standing
    health: Health


# ---- all experiments -----------------------------------------------------------------------------


def experiments(request: Request) -> Response:
    """Those under way first, then the others, newest change first."""
    console = console_of(request)
    stamp = console.stamps.now("")
    standings, kafka = console.reads.standings()
    standings.sort(key=lambda standing: standing.status.changed_at, reverse=True)
    shown = standings[:MOST_LISTED]
    known = tried(lambda: _pulses(console, shown))
    now, viewer = datetime.now(UTC), console.viewer(session_of(request).person)
    rows = [Row(standing, health(standing.status, known.value, now)) for standing in shown]
    return page(
        request,
        "experiments.html",
        stamp=stamp,
        under_way=[row for row in rows if row.standing.status.lifecycle in UNDER_WAY],
        others=[row for row in rows if row.standing.status.lifecycle not in UNDER_WAY],
        left_out=len(standings) - len(shown),
        waits=len(waiting(standings, now, viewer)),
        still_running=still_running(standings),
        done=LINE_DONE.get(request.query_params.get("done", "")),
        troubles_found=[trouble for trouble in (kafka, known.trouble) if trouble],
    )


def _pulses(console: Console, standings: list[Standing]) -> Pulses:
    with console.reads.stored() as client:
        return pulses(client, [standing.status.experiment for standing in standings])


def inbox(request: Request) -> Response:
    console = console_of(request)
    standings, kafka = console.reads.standings()
    viewer = console.viewer(session_of(request).person)
    return page(
        request,
        "waiting.html",
        items=waiting(standings, datetime.now(UTC), viewer),
        can_ask=kafka is None,
        troubles_found=[trouble for trouble in (kafka or viewer.trouble,) if trouble],
    )


def budgets(request: Request) -> Response:
    """Of experiments, teams and the programme: what was spent, and when the rest will be gone."""
    found = tried(console_of(request).reads.budgets)
    troubles_found = [found.trouble] if found.trouble else []
    return page(request, "budgets.html", lines=found.value or [], troubles_found=troubles_found)


# ---- one experiment ------------------------------------------------------------------------------


def experiment(request: Request) -> Response:
    """The whole of it; what cannot be read says so in its place."""
    console, name = console_of(request), request.path_params["name"]
    stamp = console.stamps.now(name)
    standing, kafka = console.reads.standing(name)
    told = tried(lambda: _told(console, name))
    explained = told.value.explanation if told.value else None
    viewer = console.viewer(session_of(request).person)
    can = (*decisions(standing, viewer, datetime.now(UTC)), *offers(standing.status.lifecycle))
    stop = last_stop(explained) if explained else None
    review = told.value.review if told.value else None
    return page(
        request,
        "experiment.html",
        stamp=stamp,
        standing=standing,
        told=told.value,
        offers=can if kafka is None else (),
        stop=stop,
        links=links(explained, stop) if explained and stop else (),
        events=timeline(explained) if explained else (),
        pictures=_pictures(told.value),
        segments=segment_table(review) if review else None,
        budgets=budget_rows(standing.spec, told.value.verdicts if told.value else ()),
        done=DONE.get(request.query_params.get("done", "")),
        troubles_found=[trouble for trouble in (kafka or viewer.trouble, told.trouble) if trouble],
    )


def _told(console: Console, name: str) -> Told | None:
    """None where the recorder has not stored it yet."""
    try:
        return console.reads.told(name)
    except UnknownExperiment:
        return None


def _pictures(told: Told | None) -> tuple[Picture, ...]:
    return told.review.drawings.over_time if told and told.review else ()


def drawings(request: Request) -> Response:
    """The data of the pictures, for the page's script."""
    console, name = console_of(request), request.path_params["name"]
    return JSONResponse(plain(list(_pictures(_told(console, name)))))


def review(request: Request) -> Response:
    name = request.path_params["name"]
    with console_of(request).reads.stored() as client:
        text = markdown(reading.read_review(client, name))
    return page(request, "review.html", name=name, blocks=list(blocks(text)))


def review_file(request: Request) -> Response:
    """The same document as Markdown, to be saved."""
    name = request.path_params["name"]
    with console_of(request).reads.stored() as client:
        text = markdown(reading.read_review(client, name))
    headers = {"Content-Disposition": 'attachment; filename="review.md"'}
    return PlainTextResponse(text, media_type="text/markdown", headers=headers)


# ---- past experiments, dead letters --------------------------------------------------------------


def search(request: Request) -> Response:
    wanted = request.query_params.get("q", "").strip()[: searching.LONGEST_SEARCH]
    found: Found[list[searching.Hit]] = Found([])
    if wanted:
        found = tried(lambda: _searched(console_of(request), wanted))
    hits = [(hit, searching.excerpt(hit.text, wanted)) for hit in found.value or ()]
    return page(
        request, "search.html", wanted=wanted, hits=hits, troubles_found=[found.trouble] if found.trouble else []
    )


def _searched(console: Console, wanted: str) -> list[searching.Hit]:
    with console.reads.stored() as client:
        return searching.search(client, wanted)


def letter_list(request: Request) -> Response:
    stage, code = (request.query_params.get(name, "") for name in ("stage", "code"))
    with console_of(request).reads.stored() as client:
        counts = queries.dead_letters(client)
        newest = letters.newest(client, stage, code)
    return page(request, "letters.html", counts=counts, letters=newest, stage=stage, code=code)


def letter(request: Request) -> Response:
    """One with its bytes. Raises RequestRefused where there is none."""
    settings = console_of(request).settings
    found = dead_letters.read_one(settings, request.path_params["id"])
    kept = found.content.value
    return page(
        request,
        "letter.html",
        letter=found,
        variants=dead_letters.variants_of(settings, found),
        warning=dead_letters.WARNING,
        lines=list(dead_letters.hex_lines(kept[: dead_letters.SHOWN_BYTES])),
        left_out=max(0, len(kept) - dead_letters.SHOWN_BYTES),
    )


# ---- live ----------------------------------------------------------------------------------------


async def events(request: Request) -> Response:
    listeners = console_of(request).listeners
    if listeners.is_full:
        return PlainTextResponse("too many pages are listening; reload this one by hand", 503)
    asked = request.query_params
    stream = listeners.changes(request, asked.get("experiment", ""), asked.get("seen", ""))
    return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


def is_well(_: Request) -> Response:
    """For who keeps the process running."""
    return PlainTextResponse("ok\n")
