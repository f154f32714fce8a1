"""What a review is made of, read from ClickHouse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from stoploss.cli.incident import harm_of
from stoploss.errors import ConfigurationError
from stoploss.experiment import Experiment
from stoploss.incidents.facts import asked
from stoploss.incidents.subject import answered_harm, subject_of
from stoploss.incidents.traces import Shown
from stoploss.lifecycle import WAITING
from stoploss.policy.file import policy_in_force
from stoploss.policy.model import Policy
from stoploss.registry import RegistryEntry
from stoploss.review.document import Rows
from stoploss.review.owed import ROLLOUT
from stoploss.review.pictures import Points
from stoploss.review.samples import OF_EACH_ARM, Drawn, Samples, TraceLine, drawn_line, harm_lines
from stoploss.review.words import moment
from stoploss.store import queries, review_reads
from stoploss.store.picture_reads import points
from stoploss.store.review_reads import InProduction
from stoploss.store.rows import Status, TimelineEntry

NOT_GRANTED = "traces are shown to those alone who may read texts (ClickHouse role stoploss_texts)"


def review_rows(client: Client, spec: Experiment, found: Status, signers: Mapping[str, str], seed: int | None) -> Rows:
    """
    signers  id of the signing key by command id
    seed     of the sample of traces; None: none are read
    """
    name, minimum_cell = found.experiment, spec.spec.privacy.minimum_cell
    timeline = queries.timeline(client, name)
    entry = review_reads.last_entry(client, name)
    drawn = [*(guardrail.metric for guardrail in spec.spec.guardrails), *(one.watched for one in spec.spec.budgets)]
    return Rows(
        timeline=timeline,
        arms=queries.arms_latest(client, name, minimum_cell=minimum_cell),
        verdicts=queries.verdicts_latest(client, name, minimum_cell=minimum_cell),
        commands=queries.commands(client, name),
        signers=signers,
        exposures=queries.exposures_after_stop(client, name),
        read_at=datetime.now(UTC),
        asked=asked(client, name),
        entry=entry,
        points=Points(*points(client, name, found.run, list(dict.fromkeys(drawn)))),
        versions=review_reads.judge_versions(client, found.ledger_partition),
        signed=review_reads.last_checkpoint(client, name),
        programme=review_reads.start_to_decision(client),
        production=_production(client, spec, entry),
        hidden=queries.hidden_cells(client, name),
        policy=_policy(client, found),
        samples=Samples() if seed is None else _allowed_samples(client, spec, found, timeline, seed),
    )


def _policy(client: Client, found: Status) -> Policy | None:
    text = review_reads.policy_text(client, found.ledger_partition)
    return policy_in_force(text) if text else None


def _production(client: Client, spec: Experiment, entry: RegistryEntry | None) -> list[InProduction]:
    """Of a treatment that was rolled out, since then."""
    completion = entry.completion if entry else None
    if completion is None or completion.decision != ROLLOUT:
        return []
    return review_reads.in_production(client, spec.name, spec.treatment.name, moment(completion.at))


def _allowed_samples(
    client: Client, spec: Experiment, found: Status, timeline: Sequence[TimelineEntry], seed: int
) -> Samples:
    """Texts have a grant of their own: who lacks it reads the review without traces."""
    try:
        return _samples(client, spec, found, timeline, seed)
    except ClickHouseError as error:
        if not review_reads.is_denied(error):
            raise
        return Samples(seed, missing=(NOT_GRANTED,))


def _samples(client: Client, spec: Experiment, found: Status, timeline: Sequence[TimelineEntry], seed: int) -> Samples:
    of_run = [entry for entry in timeline if entry.run == found.run]
    if found.lifecycle in WAITING or not of_run:
        return Samples(seed)
    shown, missing = _harm(client, spec, of_run)
    representative: list[TraceLine] = []
    counted: list[Drawn] = []
    for variant in spec.arms:
        where = {"experiment": spec.name, "variant": variant.name, "run": found.run}
        where |= {"since": of_run[0].at, "until": of_run[-1].at}
        rows = review_reads.SAMPLE.run(client, **where, seed=seed, most=OF_EACH_ARM)
        (population,) = review_reads.POPULATION.run(client, **where)
        representative += map(drawn_line, rows)
        counted.append(Drawn(variant.name, len(rows), population.traces))
    return Samples(seed, tuple(counted), tuple(representative), harm_lines(spec.name, shown), missing)


def _harm(client: Client, spec: Experiment, of_run: Sequence[TimelineEntry]) -> tuple[list[Shown], tuple[str, ...]]:
    """The traces behind each command that answered harm, and why there are none of some."""
    shown: list[Shown] = []
    missing: list[str] = []
    for command_id in answered_harm(of_run):
        try:
            harm = harm_of(client, subject_of(spec.name, command_id, of_run), spec)
        except ConfigurationError as error:
            missing.append(str(error))
            continue
        shown += harm.shown
        missing += _reasons(harm.missing, [rows.none_because for rows in harm.found])
    return shown, tuple(dict.fromkeys(missing))


def _reasons(not_stored: int, none_because: Sequence[str | None]) -> Iterator[str]:
    if not_stored:
        yield f"{not_stored} traces of harm are not stored (yet, or any more)"
    yield from (reason for reason in none_because if reason)
