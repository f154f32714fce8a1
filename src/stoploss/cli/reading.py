"""status, watch, explain, review: what people ask of experiments, and where the answers are read."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from rich.live import Live

from stoploss import ledger
from stoploss.cli.budgets import read_budgets, told
from stoploss.cli.gathering import review_rows
from stoploss.cli.output import console, is_terminal, json_text, print_json, show, write_file
from stoploss.cli.progress import working
from stoploss.errors import ConfigurationError, InvalidExperiment
from stoploss.experiment import Experiment
from stoploss.governance.freezing import standing
from stoploss.kafka import connection
from stoploss.lifecycle import WAITING
from stoploss.registry import RegistryEntry
from stoploss.review import samples
from stoploss.review.cells import Cells, cells_of
from stoploss.review.chain import FindingLine
from stoploss.review.document import Review
from stoploss.review.document import review as reviewed
from stoploss.review.errors import UnknownExperiment
from stoploss.review.explanation import Explanation, explanation, with_lineage
from stoploss.review.frames import Frame, FrameRows, frame
from stoploss.review.html import html
from stoploss.review.lineage import Lineage, led_to_commands, lineage_of, named
from stoploss.review.markdown import markdown
from stoploss.review.overview import ExperimentStatus, in_force, status_of
from stoploss.review.tables import explanation_text, status_table, text, watch_table
from stoploss.settings import Settings
from stoploss.spec.file import parse_experiment
from stoploss.store import queries, replay_reads
from stoploss.store.client import connect
from stoploss.store.query import Query
from stoploss.store.review_reads import last_entry
from stoploss.store.rows import SpecVersion, Status, TraceOrigin
from stoploss.suppression import MINIMUM_CELL
from streams.policy import policy_of, read_freeze, read_policy
from streams.reading import whole

REFRESH_S = 1.0
BROKER_TIMEOUT_S = 5.0
MOST_LINEAGES = 3
_NO_TABLES = re.compile(r"Code: (60|81)\b|UNKNOWN_TABLE|UNKNOWN_DATABASE")


# ---- commands ------------------------------------------------------------------------------------


def status(settings: Settings, as_json: bool, experiment: str | None = None) -> None:
    """Where every experiment stands, or one of them, from Kafka alone: it works while ClickHouse is down.

    Raises UnknownExperiment.
    """
    with working("reading the registry"):
        statuses, frozen = read_statuses(settings), read_frozen(settings)
        budgets = [] if as_json else read_budgets(settings)
    if experiment is not None:
        statuses = _only(experiment, statuses)
    if as_json:
        print_json([replace(status, frozen=frozen) for status in statuses])
        return
    if frozen:
        show(text(f"{frozen[:1].upper()}{frozen[1:]}", "bold red"))
    show(status_table(statuses))
    for line in told(budgets):
        print(line)


def _only(experiment: str, statuses: Sequence[ExperimentStatus]) -> list[ExperimentStatus]:
    found = [status for status in statuses if status.experiment == experiment]
    if not found:
        raise UnknownExperiment(experiment, [status.experiment for status in statuses])
    return found


def watch(settings: Settings, experiment: str | None, once: bool, as_json: bool) -> None:
    """A live table until Ctrl-C; one frame with `once`, and where stdout is no terminal. As JSON: a line per frame.

    Raises UnknownExperiment.
    """
    try:
        with stored(settings) as client:
            watcher = Watcher(client, experiment)
            if once or not is_terminal():
                _print_frames(watcher.frames(), as_json)
            elif as_json:
                _follow_as_json(watcher)
            else:
                _follow(watcher)
    except KeyboardInterrupt:
        return


def explain(settings: Settings, experiment: str, as_json: bool) -> None:
    """The chain from evidence to command. Raises UnknownExperiment."""
    with working("reading the evidence"), stored(settings) as client:
        told = read_explanation(client, experiment)
    if as_json:
        print_json(told)
    else:
        show(explanation_text(told, settings.clickhouse_database))


def review(
    settings: Settings, experiment: str, output: Path | None, as_json: bool, seed: int | None = samples.SEED
) -> None:
    """The review in the form that the file's name asks for, Markdown on stdout.

    Raises UnknownExperiment; InvalidExperiment where this version cannot read the spec.

    seed  of the sample of traces; None: no traces are shown
    """
    with working("writing the review"), stored(settings, f"stoploss review {experiment}") as client:
        found = read_review(client, experiment, seed)
        text = document(found, "json" if as_json else _form(output))
    if output is None:
        console().file.write(text)
        return
    write_file(output, text)
    show(f"review of {experiment} written to {output}")


def document(found: Review, form: str) -> str:
    """As html, json or markdown."""
    match form:
        case "json":
            return f"{json_text(found)}\n"
        case "html":
            return html(found)
        case _:
            return markdown(found)


def _form(output: Path | None) -> str:
    """What the name of a file asks for; on stdout Markdown."""
    return {".html": "html", ".htm": "html", ".json": "json"}.get(output.suffix.lower() if output else "", "markdown")


# ---- from Kafka ----------------------------------------------------------------------------------


def read_statuses(settings: Settings) -> list[ExperimentStatus]:
    today, entries = datetime.now(UTC).date(), read_entries(settings)
    policy = policy_of(read_policy(settings)) if entries else None
    return [status_of(entry, today, policy) for entry in entries]


def read_entries(settings: Settings) -> list[RegistryEntry]:
    """The last word of each experiment. Raises ConfigurationError."""
    bootstrap, topic = settings.need_kafka(), settings.topics("registry")
    try:
        _require_broker(bootstrap)
        return in_force((message.key(), message.value()) for message in whole(bootstrap, topic))
    except KafkaException as error:
        raise ConfigurationError(
            f"Kafka at {bootstrap} cannot be read ({error.args[0].str()}); start it, or correct STOPLOSS_KAFKA"
        ) from error


def read_frozen(settings: Settings) -> str | None:
    """Since when the line is stopped, by whom and why; None where it is not."""
    found = read_freeze(settings)
    return standing(found.by, found.at, found.reason) if found else None


def _require_broker(bootstrap: str) -> None:
    """A short question first: reading a topic waits half a minute, and librdkafka complains on stderr meanwhile."""
    AdminClient({**connection(bootstrap), "log_level": 0}).list_topics(timeout=BROKER_TIMEOUT_S)


# ---- from ClickHouse -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CommandSigner:
    """Which key signed a command; None: it was published without a signature."""

    command_id: str
    key_id: str | None


SIGNERS = Query(
    CommandSigner,
    """
SELECT command_id, nullIf(max(extract(ifNull(signature, ''), '^keyid=([0-9a-f]{8});')), '') AS key_id
FROM commands_v
WHERE experiment = {experiment:String}
GROUP BY command_id
""",
)


@contextmanager
def stored(settings: Settings, why: str = "") -> Iterator[Client]:
    """A client of ClickHouse; its errors inside become one sentence. why: as its log of queries has it."""
    client = connect(settings.need_clickhouse(), database=settings.clickhouse_database, why=why)
    try:
        yield client
    except ClickHouseError as error:
        raise ConfigurationError(sentence_of(error, settings)) from error
    finally:
        client.close()


def sentence_of(error: ClickHouseError, settings: Settings) -> str:
    if _NO_TABLES.search(str(error)):
        return (
            f"nothing is recorded in ClickHouse's database {settings.clickhouse_database!r} yet; "
            "start a recorder with `stoploss up` or `stoploss worker recorder`"
        )
    first_line = (str(error) or type(error).__name__).splitlines()[0]
    return f"ClickHouse could not answer ({first_line[:200]}); try again, or look with `stoploss doctor`"


def _status_of(client: Client, experiment: str) -> Status:
    statuses = {found.experiment: found for found in queries.status(client)}
    if experiment not in statuses:
        raise UnknownExperiment(experiment, list(statuses))
    return statuses[experiment]


def _spec_in_force(status: Status, versions: Sequence[SpecVersion]) -> Experiment:
    """Raises InvalidExperiment where this version cannot read it."""
    text = next((version.spec for version in versions if version.spec_hash == status.spec_hash), "")
    return parse_experiment(text, f"the recorded spec of {status.experiment!r}")


def _cells(client: Client, status: Status) -> Cells:
    """By what the spec says, or the usual where it cannot be read: explaining must not depend on it."""
    try:
        minimum = _spec_in_force(status, queries.specs(client, status.experiment)).spec.privacy.minimum_cell
    except InvalidExperiment:
        minimum = MINIMUM_CELL
    return cells_of(minimum, queries.hidden_cells(client, status.experiment))


def signers(client: Client, experiment: str) -> dict[str, str]:
    return {row.command_id: row.key_id for row in SIGNERS.run(client, experiment=experiment) if row.key_id}


def read_explanation(client: Client, experiment: str) -> Explanation:
    """Raises UnknownExperiment."""
    found = _status_of(client, experiment)
    told = explanation(
        found,
        queries.timeline(client, experiment),
        queries.commands(client, experiment),
        signers(client, experiment),
        queries.exposures_after_stop(client, experiment),
        _cells(client, found),
    )
    causes = led_to_commands(told.findings, [command.cause for command in told.commands])
    return with_lineage(told, [_read_lineage(client, experiment, cause) for cause in causes[-MOST_LINEAGES:]])


def _read_lineage(client: Client, experiment: str, finding: FindingLine) -> Lineage:
    place = finding.place
    record = replay_reads.ledger_entry(client, place.ledger_partition, place.ledger_offset)
    lineage = lineage_of(finding, ledger.decode(record.value) if record else None)
    return named(lineage, _tripped_traces(client, experiment, lineage))


def _tripped_traces(client: Client, experiment: str, lineage: Lineage) -> list[TraceOrigin]:
    places = {(trace.topic_uuid, trace.partition) for trace in lineage.tripped}
    return [
        origin
        for uuid, partition in sorted(places)
        for origin in queries.traces_at(client, experiment, uuid, partition, lineage.tripped_offsets(uuid, partition))
    ]


def read_review(client: Client, experiment: str, seed: int | None = None) -> Review:
    """Raises UnknownExperiment; InvalidExperiment where this version cannot read the spec.

    seed  of the sample of traces; None: no traces are read
    """
    found = _status_of(client, experiment)
    spec = _spec_in_force(found, queries.specs(client, experiment))
    return reviewed(spec, found, review_rows(client, spec, found, signers(client, experiment), seed))


# ---- watching ------------------------------------------------------------------------------------


class Watcher:
    """Reads frames; remembers parsed specs by hash."""

    def __init__(self, client: Client, experiment: str | None) -> None:
        self._client, self._experiment = client, experiment
        self._specs: dict[str, Experiment | None] = {}

    def frames(self) -> list[Frame]:
        """One per experiment, or of the one asked for; raises UnknownExperiment."""
        if self._experiment is not None:
            return [self._frame(_status_of(self._client, self._experiment))]
        return [self._frame(found) for found in queries.status(self._client)]

    def _frame(self, found: Status) -> Frame:
        if found.lifecycle in WAITING:
            return frame(found, self._spec(found), FrameRows())
        name = found.experiment
        rows = FrameRows(
            arms=queries.arms_latest(self._client, name),
            verdicts=queries.verdicts_latest(self._client, name),
            commands=queries.commands(self._client, name),
            findings=queries.timeline(self._client, name, kinds=["finding"]),
            entry=last_entry(self._client, name),
        )
        return frame(found, self._spec(found), rows)

    def _spec(self, found: Status) -> Experiment | None:
        if found.spec_hash not in self._specs:
            try:
                spec: Experiment | None = _spec_in_force(found, queries.specs(self._client, found.experiment))
            except InvalidExperiment:
                spec = None
            self._specs[found.spec_hash] = spec
        return self._specs[found.spec_hash]


def _print_frames(frames: Sequence[Frame], as_json: bool) -> None:
    read_at = datetime.now(UTC)
    if as_json:
        print_json({"read_at": read_at, "experiments": frames}, indent=None)
    else:
        show(watch_table(frames, read_at))


def _follow_as_json(watcher: Watcher) -> None:
    while True:
        _print_frames(watcher.frames(), as_json=True)
        time.sleep(REFRESH_S)


def _follow(watcher: Watcher) -> None:
    first = watch_table(watcher.frames(), datetime.now(UTC))
    with Live(first, console=console(), auto_refresh=False) as live:
        while True:
            live.refresh()
            time.sleep(REFRESH_S)
            live.update(watch_table(watcher.frames(), datetime.now(UTC)))
