"""What a worker tells Prometheus. Made once per process, whatever roles it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from faust.types import TP
from prometheus_client import REGISTRY, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from streams.batches import Unread

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, of which nobody asks

DEAD_LETTERS = Counter("stoploss_dead_letters", "Records that could not be used, by reason", ("role", "reason"))
CONCLUSIONS = Counter("stoploss_conclusions", "Journal entries published")
COMMANDS = Counter("stoploss_commands", "Commands published, by action", ("action",))
UNACKED = Gauge("stoploss_commands_unacked", "Last commands of experiments not applied by everybody who has to")
TRANSACTION = Histogram(
    "stoploss_transaction_seconds",
    "From the first output of a transaction until the broker has committed it",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)
BARE_OUTCOMES = Counter(
    "stoploss_bare_outcomes",
    "Bare outcomes looked up, and what became of them: resolved, again (they wait), unresolved (given up)",
    ("result",),
)
BARE_WAITING = Gauge("stoploss_bare_outcomes_waiting", "Bare outcomes that were read and wait for their next look-up")
OTLP = Counter("stoploss_otlp", "Spans and events of OpenTelemetry, and traces, by what became of them", ("fate",))
UNPRICED = Counter("stoploss_otlp_unpriced", "Calls of models that the table of prices lacks, by model", ("model",))
UNREGISTERED = Counter(
    "stoploss_unregistered",
    "Traces that name an experiment that is not registered, by its name, as far as there are not too many",
    ("experiment",),
)
STALL = Histogram(
    "stoploss_loop_stall_seconds",
    "How much later than planned the event loop came round",
    ("role",),
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60),
)


class Lags(Collector):
    """What is behind the log's end per partition, asked when somebody looks.

    lags  by role: what gives it of each partition that this worker owns
    """

    def __init__(self, lags: Mapping[str, Callable[[], Mapping[TP, Unread]]]) -> None:
        self._lags = lags

    def collect(self) -> Iterator[GaugeMetricFamily]:
        labels = ("role", "topic", "partition")
        behind = GaugeMetricFamily("stoploss_lag_records", "Records not handed over yet", labels=labels)
        age = GaugeMetricFamily(
            "stoploss_unread_seconds", "For how long the oldest of them may have waited", labels=labels
        )
        for role, lags in self._lags.items():
            for tp, unread in sorted(lags().items()):
                behind.add_metric((role, tp.topic, str(tp.partition)), unread.records)
                age.add_metric((role, tp.topic, str(tp.partition)), unread.for_s)
        yield from (behind, age)

    def register(self) -> None:
        REGISTRY.register(self)


class Sight(NamedTuple):
    """
    behind_s    age of the newest judged ledger entry, seconds; 0 before the first
    blind_runs  runs that the monitor does not see
    """

    behind_s: float
    blind_runs: int


class Sights(Collector):
    """How far a judge sees, asked when somebody looks: one that is stuck is told as older each time.

    sights  what gives it, by ledger partition that this worker owns
    """

    def __init__(self, sights: Callable[[], Mapping[int, Sight]]) -> None:
        self._sights = sights

    def collect(self) -> Iterator[GaugeMetricFamily]:
        behind = GaugeMetricFamily(
            "stoploss_judged_behind_seconds",
            "Age of the newest judged ledger entry. A ledger has a tick each second, so what is older waits",
            labels=("partition",),
        )
        blind = GaugeMetricFamily(
            "stoploss_blind_runs", "Runs that the monitor does not see: the journal says why", labels=("partition",)
        )
        for partition, sight in sorted(self._sights().items()):
            behind.add_metric((str(partition),), sight.behind_s)
            blind.add_metric((str(partition),), sight.blind_runs)
        yield from (behind, blind)

    def register(self) -> None:
        REGISTRY.register(self)
