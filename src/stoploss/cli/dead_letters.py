"""deadletter list, show and retry: what was refused, and how it is sent once more.

Read from Kafka: its topic holds the same as ClickHouse for as long, bytes included, and answers while a recorder is
behind.
"""

from __future__ import annotations

import base64
import hashlib
import heapq
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import typer
from confluent_kafka import Message
from rich.table import Table

from stoploss.cli.output import console, print_json
from stoploss.cli.progress import working
from stoploss.errors import RequestRefused, WireError
from stoploss.intake import dead_letters
from stoploss.intake.dead_letters import DeadLetter
from stoploss.review.tables import text
from stoploss.review.words import count, printable, utc
from stoploss.settings import Settings
from stoploss.spec.base import parse_duration
from stoploss.wire.traces import decode_values
from streams.appender import Appender
from streams.reading import record_at, whole

READ_BY_INTAKE = {"traces": "trace", "outcomes": "outcome", "outcomes_resolved": "outcome"}
SENT_AGAIN = {name: name for name in ("traces", "outcomes", "experiments")} | {"outcomes_resolved": "outcomes"}
"""Where what was refused on a topic goes again: to the topics that people and services write. An outcome whose trace
was not found begins its way anew. Nobody but the monitor may write the others."""
MOST_SENT = 1_000
SHOWN_BYTES = 1_024
ATTEMPT_HEADER, LETTER_HEADER = "stoploss-retry", "stoploss-dead-letter"
WARNING = "These bytes are as they were sent and may hold personal data: look, and do not pass them on."
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_MICROS = 253_402_300_799_000_000


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter and where it stands; id: partition and offset on the topic of dead letters."""

    id: str
    refused_at: datetime
    content: DeadLetter

    @property
    def record(self) -> tuple[str, int, bytes]:
        """What was refused, whoever refused it and however often."""
        source = self.content.source
        return source.topic, source.partition, hashlib.sha256(self.content.value).digest()

    @property
    def where(self) -> str:
        source = self.content.source
        return f"{source.topic}, partition {source.partition}, offset {self.content.offset}"

    @property
    def sent_at(self) -> datetime:
        """The broker's time of what was refused."""
        return _EPOCH + timedelta(microseconds=min(max(self.content.at, 0), _LATEST_MICROS))

    @property
    def is_cut(self) -> bool:
        return self.content.size > len(self.content.value)


@dataclass(frozen=True, slots=True)
class Wanted:
    """reason: a code, or text of a reason, whatever its case; None: any."""

    reason: str | None
    since_s: int

    @classmethod
    def of(cls, reason: str | None, since: str) -> Self:
        """Raises RequestRefused where `since` is no duration."""
        try:
            return cls(reason, parse_duration(since))
        except ValueError as error:
            raise RequestRefused(f"--since: {error}") from error

    def __call__(self, letter: Letter) -> bool:
        content = letter.content
        return self.reason is None or self.reason == content.code or self.reason.lower() in content.reason.lower()


# ---- commands --------------------------------------------------------------------------------------


def list_letters(settings: Settings, wanted: Wanted, limit: int, as_json: bool) -> None:
    with working("reading dead letters"):
        found = _newest(filter(wanted, read(settings, wanted.since_s)), limit)
    if as_json:
        print_json([_line(settings, letter) for letter in found])
    elif found:
        # A table as wide as its widest reason would cut ids and places in a pipe.
        console().print(_table(settings, found))
    else:
        print("no such dead letter")


def show(settings: Settings, letter_id: str, is_whole: bool, as_json: bool) -> None:
    """Raises RequestRefused where there is no such letter."""
    letter = read_one(settings, letter_id)
    if as_json:
        content = letter.content
        raw = {"value": _base64(content.value), "key": _base64(content.key), "warning": WARNING}
        print_json({**_line(settings, letter), **raw})
        return
    for line in _told(settings, letter):
        print(line)
    kept = letter.content.value
    shown = kept if is_whole else kept[:SHOWN_BYTES]
    for line in hex_lines(shown):
        print(line)
    if len(shown) < len(kept):
        print(f"… {count(len(kept) - len(shown))} more bytes: --whole")


def retry(settings: Settings, letter_id: str | None, wanted: Wanted, *, ask: bool) -> None:
    """Sends each chosen record once. Raises RequestRefused where none can be sent, or the person says no."""
    with working("reading dead letters"):
        letters = list(read(settings, wanted.since_s if letter_id is None else None))
    attempts = Counter(letter.record for letter in letters)
    chosen = [read_one(settings, letter_id)] if letter_id else list(filter(wanted, letters))
    sendable, why_not = _sendable(settings, chosen)
    if not sendable:
        raise RequestRefused(
            f"nothing to send again: {why_not or 'no such dead letter; see `stoploss deadletter list`'}"
        )
    sent, left = sendable[:MOST_SENT], sendable[MOST_SENT:]
    topics = ", ".join(sorted({_way_back(settings)[letter.content.source.topic] for letter in sent}))
    if ask and not typer.confirm(f"Send {_records(len(sent))} again to {topics}?"):
        raise RequestRefused("nothing was sent")
    _send(settings, sent, attempts)
    print(f"{_records(len(sent))} sent again to {topics}; what is refused again is a new dead letter")
    if left:
        print(f"{_records(len(left))} more wait: run it again with a smaller --since, or after these were read")
    if why_not:
        print(f"not sent: {why_not}")


def _records(number: int) -> str:
    return f"{count(number)} record{'s' if number != 1 else ''}"


# ---- reading ---------------------------------------------------------------------------------------


def read(settings: Settings, since_s: int | None = None) -> Iterator[Letter]:
    """Dead letters in the order of each partition; since_s: refused in the last so many seconds."""
    since_ms = None if since_s is None else int((time.time() - since_s) * 1_000)
    for message in whole(settings.need_kafka(), settings.topics("deadletter"), since_ms=since_ms):
        if (letter := _letter(message)) is not None:
            yield letter


def read_one(settings: Settings, letter_id: str) -> Letter:
    """Raises RequestRefused where there is none."""
    match = re.fullmatch(r"(\d{1,9})-(\d{1,18})", letter_id)
    if match is None:
        raise RequestRefused(
            f"{letter_id!r} is no id of a dead letter; `stoploss deadletter list` shows them, like 0-17"
        )
    topic = settings.topics("deadletter")
    message = record_at(settings.need_kafka(), topic, int(match[1]), int(match[2]))
    letter = _letter(message) if message is not None else None
    if letter is None:
        raise RequestRefused(f"no dead letter {letter_id}: it never was, or its retention is over")
    return letter


def _letter(message: Message) -> Letter | None:
    """None where no letter of stoploss stands there."""
    try:
        content = dead_letters.decode(message.value())
    except WireError:
        return None
    refused_at = _EPOCH + timedelta(milliseconds=message.timestamp()[1])
    return Letter(f"{message.partition()}-{message.offset()}", refused_at, content)


def _newest(letters: Iterable[Letter], limit: int) -> list[Letter]:
    return heapq.nlargest(limit, letters, key=lambda letter: letter.refused_at)


def variants_of(settings: Settings, letter: Letter) -> list[str]:
    """experiment/variant, where the bytes still tell it."""
    names = {settings.topics(topic): name for topic, name in READ_BY_INTAKE.items()}
    name = names.get(letter.content.source.topic)
    if name is None or letter.is_cut:
        return []
    read = decode_values([letter.content.value], name)
    if read.refused:
        pairs: Sequence[tuple[str, str]] = read.refused[0].assignments
    else:
        pairs = [(held["experiment"], held["variant"]) for held in read.frame["assignments"][0].to_list()]
    return [printable(f"{experiment}/{variant}")[:130] for experiment, variant in dict.fromkeys(pairs)][:16]


# ---- telling ---------------------------------------------------------------------------------------


def _line(settings: Settings, letter: Letter) -> dict[str, Any]:
    content = letter.content
    return {
        "id": letter.id,
        "refused_at": letter.refused_at,
        "stage": content.stage,
        "code": content.code,
        "reason": content.reason,
        "topic": content.source.topic,
        "partition": content.source.partition,
        "offset": content.offset,
        "sent_at": letter.sent_at,
        "size": content.size,
        "is_cut": letter.is_cut,
        "variants": variants_of(settings, letter),
    }


def _table(settings: Settings, letters: Sequence[Letter]) -> Table:
    table = Table("id", "refused", "from", "variant", "why", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for letter in letters:
        source = letter.content.source
        table.add_row(
            text(letter.id),
            text(utc(letter.refused_at)),
            text(f"{source.topic}/{source.partition}/{letter.content.offset}"),
            text(", ".join(variants_of(settings, letter)) or "unknown"),
            text(f"{letter.content.code}: {letter.content.reason}"),
        )
    return table


def _told(settings: Settings, letter: Letter) -> Iterator[str]:
    content = letter.content
    cut = f", of which {count(len(content.value))} were kept" if letter.is_cut else ""
    yield f"dead letter {letter.id}: {printable(content.code)}: {printable(content.reason)}"
    yield f"refused {utc(letter.refused_at)} by {printable(content.stage)}"
    yield f"from {printable(letter.where)}, sent {utc(letter.sent_at)}"
    yield f"variant: {', '.join(variants_of(settings, letter)) or 'unknown'}; {count(content.size)} bytes{cut}"
    yield WARNING


def hex_lines(value: bytes) -> Iterator[str]:
    """16 bytes a line, as hex and as what is printable of them.

    >>> list(hex_lines(b'{"a": 1}\\x00'))
    ['00000000  7b 22 61 22 3a 20 31 7d 00                       {"a": 1}.']
    """
    for start in range(0, len(value), 16):
        part = value[start : start + 16]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        yield f"{start:08x}  {part.hex(' '):<47}  {shown}"


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


# ---- sending again ---------------------------------------------------------------------------------


def _sendable(settings: Settings, letters: Iterable[Letter]) -> tuple[list[Letter], str]:
    """The letters that can be sent again, the last of each record, and why the others cannot."""
    again = _way_back(settings)
    cut, foreign, found = 0, Counter[str](), dict[tuple[str, int, bytes], Letter]()
    for letter in letters:
        if letter.content.source.topic not in again:
            foreign[letter.content.source.topic] += 1
        elif letter.is_cut:
            cut += 1
        else:
            found[letter.record] = letter
    why = [f"{_records(cut)} larger than what is kept; send them from the service"] if cut else []
    why += [
        f"{_records(number)} of {topic}, which only its own writer sends again" for topic, number in foreign.items()
    ]
    return list(found.values()), "; ".join(why)


def _way_back(settings: Settings) -> dict[str, str]:
    """By topic on which a record was refused: the one to which it is sent again."""
    return {settings.topics(refused): settings.topics(again) for refused, again in SENT_AGAIN.items()}


def _send(settings: Settings, letters: Sequence[Letter], attempts: Counter[tuple[str, int, bytes]]) -> None:
    """To their own partitions: intake's window of what came before is one per partition's worker."""
    appender, way_back = Appender(settings.need_kafka()), _way_back(settings)
    for letter in letters:
        source, content = letter.content.source, letter.content
        headers = [(ATTEMPT_HEADER, str(attempts[letter.record]).encode()), (LETTER_HEADER, letter.id.encode())]
        topic = way_back[source.topic]
        partition = source.partition if topic == source.topic else None
        appender.append(topic, content.value, key=content.key, partition=partition, headers=headers)
    appender.flush()
