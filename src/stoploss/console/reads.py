"""Where pages read: the registry from Kafka, the story from ClickHouse. Either may be away; the other still answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Generic, TypeVar

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import KafkaException

from stoploss.cli import reading
from stoploss.cli.addresses import require_listener
from stoploss.cli.budgets import BudgetLine, read_budgets
from stoploss.console.kept import Kept
from stoploss.errors import ConfigurationError, InvalidExperiment, WireError
from stoploss.experiment import Experiment
from stoploss.governance.record import Approval, Completion
from stoploss.policy.model import Policy
from stoploss.registry import RegistryEntry
from stoploss.review.document import Review
from stoploss.review.errors import UnknownExperiment
from stoploss.review.explanation import Explanation
from stoploss.review.overview import ExperimentStatus, status_of
from stoploss.settings import Settings
from stoploss.spec.file import parse_experiment
from stoploss.store import queries
from stoploss.store.client import connect
from stoploss.store.rows import RuleVerdict, Status
from stoploss.suppression import MINIMUM_CELL
from streams.policy import policy_of, read_policy
from streams.registry_view import RegistryView

T = TypeVar("T")
ANSWER_TIMEOUT_S = 15
FREEZE_KEPT_S = 2.0
BUDGETS_KEPT_S = 5.0
POLICY_KEPT_S = 5.0
AGREES_WITHIN_S = 10.0
POLL_S = 0.05
FROM_THE_STORE = "read from ClickHouse while Kafka is away"


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """What was read, or why it was not."""

    value: T | None
    trouble: str | None = None


def tried(read: Callable[[], T]) -> Found[T]:
    """A read whose failure is part of the page."""
    try:
        return Found(read())
    except ConfigurationError as error:
        return Found(None, str(error))


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one experiment stands, with its spec where this version can read it, and what people have said.

    completion  None: nobody has decided, or Kafka is away
    authors     who registered or amended the spec
    """

    status: ExperimentStatus
    spec: Experiment | None
    approvals: tuple[Approval, ...] = ()
    completion: Completion | None = None
    authors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """What ClickHouse has of one experiment.

    review  None: this version cannot read the spec; then `fault` says why
    """

    explanation: Explanation
    review: Review | None
    fault: str | None
    verdicts: tuple[RuleVerdict, ...]


class Reads:
    """All that pages read. Used by several threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._view: RegistryView | None = None
        self._client: Client | None = None
        self._opening_view, self._opening_client = threading.Lock(), threading.Lock()
        self._frozen = Kept(self._read_frozen, FREEZE_KEPT_S)
        self._budgets = Kept(self._read_budgets, BUDGETS_KEPT_S)
        self._policy = Kept(self._read_policy, POLICY_KEPT_S)

    def close(self) -> None:
        self._forget_view()
        with self._opening_client:
            if self._client is not None:
                self._client.close()
            self._client = None

    # ---- from Kafka ------------------------------------------------------------------------------

    def entries(self) -> list[RegistryEntry]:
        """Every experiment as the judge last wrote it, by name. Raises ConfigurationError where Kafka is away."""
        bootstrap = self.settings.need_kafka()
        require_listener(bootstrap)
        try:
            found = self._followed().entries()
        except (ConfigurationError, KafkaException) as error:
            self._forget_view()
            raise ConfigurationError(f"the registry cannot be read ({error}); look with `stoploss doctor`") from error
        return sorted(found, key=lambda entry: entry.experiment)

    def _followed(self) -> RegistryView:
        with self._opening_view:
            if self._view is None:
                self._view = RegistryView(self.settings.need_kafka(), self.settings.topics("registry")).start()
            return self._view

    def _forget_view(self) -> None:
        """The next page that asks begins anew."""
        with self._opening_view:
            if self._view is not None:
                self._view.stop()
            self._view = None

    def frozen(self) -> str | None:
        """Since when the line is stopped, by whom and why; read anew after two seconds. Raises as `entries`."""
        return self._frozen.now()

    def await_frozen(self, is_stopped: bool) -> None:
        """Until what was asked of the line can be read: the registrar's answer is there a moment earlier."""
        deadline_s = time.monotonic() + AGREES_WITHIN_S
        self._frozen.forget()
        while (self.frozen() is not None) != is_stopped and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
            self._frozen.forget()

    def budgets(self) -> list[BudgetLine]:
        """Those of the policy; read anew after five seconds. Raises as `entries`."""
        return self._budgets.now()

    def _read_frozen(self) -> str | None:
        require_listener(self.settings.need_kafka())
        try:
            return reading.read_frozen(self.settings)
        except KafkaException as error:
            raise ConfigurationError(f"whether the line is stopped cannot be read: {error}") from error

    def _read_budgets(self) -> list[BudgetLine]:
        require_listener(self.settings.need_kafka())
        try:
            return read_budgets(self.settings)
        except KafkaException as error:
            raise ConfigurationError(f"what was spent cannot be read: {error}") from error

    def policy(self) -> Policy | None:
        """The one in force, or None; read anew after five seconds. Raises as `entries`."""
        return self._policy.now()

    def _read_policy(self) -> Policy | None:
        require_listener(self.settings.need_kafka())
        try:
            return policy_of(read_policy(self.settings))
        except (KafkaException, WireError, InvalidExperiment) as error:
            raise ConfigurationError(f"the policy in force cannot be read: {error}") from error

    # ---- from either -----------------------------------------------------------------------------

    def standings(self) -> tuple[list[Standing], str | None]:
        """Every experiment, and why Kafka did not tell it, if so. Raises ConfigurationError where both are away."""
        found = tried(self.entries)
        if found.value is not None:
            today = datetime.now(UTC).date()
            return [standing_of(entry, today) for entry in found.value], None
        stored = tried(self._stored_standings)
        if stored.value is None:
            raise ConfigurationError(f"{found.trouble}. And {stored.trouble}")
        return stored.value, found.trouble

    def _stored_standings(self) -> list[Standing]:
        with self.stored() as client:
            return [Standing(_status_from_store(status), None) for status in queries.status(client)]

    def standing(self, experiment: str) -> tuple[Standing, str | None]:
        """One of them. Raises UnknownExperiment, and ConfigurationError where both are away."""
        found, trouble = self.standings()
        by_name = {standing.status.experiment: standing for standing in found}
        if experiment not in by_name:
            raise UnknownExperiment(experiment, list(by_name))
        return by_name[experiment], trouble

    # ---- from ClickHouse -------------------------------------------------------------------------

    @contextmanager
    def stored(self) -> Iterator[Client]:
        """Raises ConfigurationError, in one sentence, where ClickHouse cannot answer."""
        try:
            yield self._connected()
        except ClickHouseError as error:
            raise ConfigurationError(reading.sentence_of(error, self.settings)) from error

    def _connected(self) -> Client:
        """One client for all threads: a new one asks the server for all its settings first."""
        with self._opening_client:
            if self._client is None:
                self._client = connect(
                    self.settings.need_clickhouse(),
                    database=self.settings.clickhouse_database,
                    answer_timeout_s=ANSWER_TIMEOUT_S,
                )
            return self._client

    def told(self, experiment: str) -> Told:
        """Raises UnknownExperiment, and ConfigurationError where ClickHouse is away."""
        with self.stored() as client:
            explained = reading.read_explanation(client, experiment)
            review, fault = _reviewed(client, experiment)
            minimum_cell = review.minimum_cell if review else MINIMUM_CELL
            verdicts = queries.verdicts_latest(client, experiment, minimum_cell=minimum_cell)
        of_run = tuple(verdict for verdict in verdicts if verdict.run == explained.run)
        return Told(explained, review, fault, of_run)


def _reviewed(client: Client, experiment: str) -> tuple[Review | None, str | None]:
    try:
        return reading.read_review(client, experiment), None
    except InvalidExperiment as error:
        return None, str(error)


@lru_cache(maxsize=512)
def standing_of(entry: RegistryEntry, today: date) -> Standing:
    """Kept, since a spec takes tens of milliseconds to read and every page asks for all of them."""
    return Standing(status_of(entry, today), spec_of(entry.spec), entry.approvals, entry.completion, entry.authors)


@lru_cache(maxsize=512)
def spec_of(text: str) -> Experiment | None:
    """None where this version cannot read it."""
    try:
        return parse_experiment(text)
    except InvalidExperiment:
        return None


def _status_from_store(found: Status) -> ExperimentStatus:
    return ExperimentStatus(
        experiment=found.experiment,
        lifecycle=found.lifecycle,
        run=found.run,
        epoch=found.epoch,
        exposure=found.exposure,
        release_variant=found.release_variant,
        stopped_segments=tuple(found.stopped_segments),
        changed_at=found.changed_at,
        command_id=found.command_id,
        recommendation=None,
        not_enforced=None,
        spec_fault=FROM_THE_STORE,
    )
