"""A small experiment's whole story, encoded by the real encoders: what the recorder would read of each topic."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl

from stoploss import checkpoints, journal, ledger, measures, registry
from stoploss.commands import Ack, AckStatus, Action, Command, Evidence, Segment, derived_id
from stoploss.intake import dead_letters
from stoploss.intake.dead_letters import DeadLetter
from stoploss.journal import Conclusion, JournalEntry
from stoploss.ledger import EvidenceBlock, Request, Source, Tick
from stoploss.measures import ArmMeasure, Measure, VerdictMeasure
from stoploss.registry import RegistryEntry
from stoploss.store.arrow import clean_to_bytes
from stoploss.store.stored import Stored
from stoploss.wire import records

# Far ahead, so that no TTL ever removes what a test is about to read.
NOW = int(datetime(2100, 1, 1, 12, tzinfo=UTC).timestamp())
SECOND = 1_000_000
NAME = "checkout-agent-model"
HOSTILE = 'it\'s \\ "quoted" `x`; DROP TABLE journal -- {experiment:String} %s \n\t☃'
STEPS = 12
TENANTS = ("acme", "tiny", HOSTILE)
VARIANTS = ("current", "small")
METRICS = {
    "latency_ms": 800.0,
    "time_to_first_token_ms": 90.0,
    "output_tokens": 210.0,
    "cost_usd": 0.002,
    "error_rate": 0.01,
}


def at(seconds: float) -> int:
    """Microseconds, that many seconds into the story."""
    return int((NOW + seconds) * SECOND)


def stored(
    topic: str,
    values: Sequence[bytes | None],
    *,
    key: bytes | None = NAME.encode(),
    headers: tuple[tuple[str, bytes], ...] = (),
    partition: int = 3,
) -> list[Stored]:
    """Values at consecutive offsets of a topic's partition, a second apart."""
    return [
        Stored(f"stoploss.{topic}", f"uuid-of-{topic}", partition, offset, at(offset) // 1_000, key, value, headers)
        for offset, value in enumerate(values)
    ]


def block(experiment: str = NAME) -> EvidenceBlock:
    source = (Source("stoploss.traces", "uuid-of-traces", 0),)
    names = ("source", "offset", "unit", "trace", "variant", "at", "start", "stamp_run", "stamp_epoch", "gates")
    packed = {name: bytes([255, 0, 10, 39]) for name in names}
    return EvidenceBlock(
        experiment, "5f" * 32, 1, False, source, **packed, gate_names=(), gate_details=(), segments=(), metrics=()
    )


def facts() -> list[ledger.Fact]:
    request = Request("r-1", NAME, "start", "ada", "go", at(0))
    return [request, block(), Tick(3, "judge-1"), block()]


def evidence(segment: Segment | None = None) -> Evidence:
    return Evidence(
        rule="guardrail",
        rule_version=1,
        metric="latency_ms",
        segment=segment,
        statistic="upper limit",
        observed=0.31,
        bound=0.15,
        control=812.0,
        treatment=1_063.0,
        estimate=0.309,
        lower=0.18,
        upper=float("inf"),
        margin=0.15,
        n_control=700,
        n_treatment=650,
    )


def conclusions() -> list[Conclusion]:
    return [
        journal.RequestHandled("r-1", "start", "ada", True, "start is allowed"),
        journal.LifecycleChanged("registered", "running", "ada asked for it"),
        journal.EpochOpened(1, 0.05),
        journal.EvidenceRefused("duplicate", 2),
        journal.Finding("breach", "evidence_above_limit", "latency is 31 % higher", "page", evidence()),
        journal.Finding(
            "breach", "evidence_above_limit", "and in one tenant", "hold", evidence(Segment("tenant", HOSTILE))
        ),
        journal.CommandIssued(COMMAND_ID, "rollback", 2, "current", 0.0, "latency is 31 % higher"),
        journal.CommandAcked(COMMAND_ID, "flagd", "flagd-1", "received", ""),
        journal.CommandAcked(COMMAND_ID, "flagd", "flagd-1", "applied", ""),
        journal.ExposuresCounted(COMMAND_ID, 3, 1, at(9), at(4)),
        journal.ExposuresCounted(COMMAND_ID, 4, 2, at(10), at(4)),
        journal.LifecycleChanged("running", "rolled_back", "latency is 31 % higher"),
    ]


COMMAND_ID = derived_id(NAME, 1, "guardrail", 1, 3, 3, 0)


def journal_values(experiment: str = NAME) -> list[bytes]:
    """A chain, as the judge writes it."""
    values: list[bytes] = []
    previous = journal.GENESIS
    for number, conclusion in enumerate(conclusions()):
        entry_id = derived_id(experiment, 3, number, 0)
        entry = JournalEntry(entry_id, experiment, number, 1, 1, at(number), 3, number, 0, previous, conclusion)
        values.append(journal.encode(entry))
        previous = journal.hash_of(values[-1])
    return values


def checkpoint_values() -> list[bytes]:
    """Of the first two entries."""
    first = journal_values()[:2]
    return [checkpoints.encode(checkpoints.checkpoint_of(journal.decode(value), value, "here")) for value in first]


def command(experiment: str = NAME) -> Command:
    return Command(
        command_id=COMMAND_ID,
        experiment=experiment,
        run=1,
        epoch=1,
        sequence=2,
        action=Action.ROLLBACK,
        flag=experiment,
        release_variant="current",
        control_variant="current",
        treatment_variant="small",
        exposure=0.0,
        stopped_segments=(Segment("tenant", HOSTILE),),
        reason="latency is 31 % higher",
        evidence=evidence(),
        decided_at=at(6),
        expires_at=None,
        dry_run=False,
        topic="stoploss.control",
        controllers=("flagd",),
    )


def _arm(variant: str, metric: str, n: int, mean: float | None, segment: Segment | None = None) -> ArmMeasure:
    return ArmMeasure(variant, segment, metric, n, mean, 1.0, mean, None if mean is None else 2 * mean, None)


def measure(step: int, experiment: str = NAME) -> Measure:
    """One every ten seconds: latency of the treatment climbs, a tenant of five rows, a metric without data."""
    arms = [
        arm
        for index, variant in enumerate(VARIANTS)
        for arm in (
            *(_arm(variant, metric, 100 * (step + 1), base * (1 + step * index)) for metric, base in METRICS.items()),
            _arm(variant, "helpfulness", 0, None),
            *(
                _arm(variant, "latency_ms", 5 if tenant == "tiny" else 40, 900.0, Segment("tenant", tenant))
                for tenant in TENANTS
            ),
        )
    ]
    margin = VerdictMeasure(
        "guardrail",
        "latency_ms",
        None,
        "undecided",
        "evidence_between",
        0.1,
        0.15,
        0.02 * step,
        -0.1,
        0.2,
        0.15,
        700,
        650,
    )
    tiny = VerdictMeasure(
        "guardrail",
        "latency_ms",
        Segment("tenant", "tiny"),
        "undecided",
        "below_floor",
        0.1,
        0.15,
        0.0,
        -9.0,
        9.0,
        0.15,
        5,
        5,
    )
    burns = [
        VerdictMeasure(
            "budget", "cost_usd", None, "ok", "within_budget", 1.5 * step, bound, None, None, None, None, 0, 650
        )
        for bound in (6.0, 14.4)
    ]
    split = VerdictMeasure(
        "sample_ratio", None, None, "ok", "evidence_between", 0.4, 6.9, None, None, None, None, 700, 650
    )
    return Measure(experiment, 1, 1, at(10 * step), 3, step, tuple(arms), (margin, tiny, *burns, split))


def registry_entry(lifecycle: str, offset: int, experiment: str = NAME) -> RegistryEntry:
    exposure = 0.05 if lifecycle == "running" else 0.0
    return RegistryEntry(
        experiment,
        3,
        "kind: Experiment",
        "5f" * 32,
        lifecycle,
        1,
        1,
        offset,
        "current",
        exposure,
        (Segment("tenant", "acme"),),
        None,
        at(offset),
        offset,
    )


def dead_letter(offset: int, code: str) -> bytes:
    letter = DeadLetter(
        Source("stoploss.traces", "uuid-of-traces", 0),
        offset,
        "intake",
        code,
        f"{code}: send a whole datum",
        None,
        b"\x00\xff{",
        3,
        at(offset),
    )
    return dead_letters.encode(letter)


STEP: dict[str, str | bool | None] = {
    "kind": "tool",
    "name": "search",
    "agent": None,
    "mcp_server": "catalog",
    "scope": "catalog.read",
    "side_effect": False,
    "approval_id": None,
    "outcome": "ok",
}


def traces_frame(offsets: Sequence[int], experiment: str = NAME) -> pl.DataFrame:
    """Clean traces as intake makes them; the third of every five is quarantined for its impossible time."""
    rows = [
        {
            "trace_id": f"t-{offset}",
            "at": 2**62 if offset % 5 == 2 else at(offset),
            "service": "checkout",
            "role": "live",
            "tenant": "acme" if offset % 2 else None,
            "latency_ms": 100.5 + offset,
            "output_tokens": offset,
            "pii_exposed": False,
            "output_text": f"text {offset} ☃",
            "assignments": [
                {"experiment": experiment, "variant": VARIANTS[offset % 2], "consent": None, "run": 1, "epoch": None}
            ],
            "scores": [],
            "steps": [STEP],
            "attributes": [{"key": "country", "value": "de"}],
            "versions": None,
            "pii_classes": ["email"] if offset % 3 == 0 else [],
            "broker_at": at(offset),
            "quarantined": "at is 2**62" if offset % 5 == 2 else None,
            "topic": "stoploss.traces",
            "topic_uuid": "uuid-of-traces",
            "partition": 0,
            "offset": offset,
        }
        for offset in offsets
    ]
    scores = pl.List(pl.Struct({"name": pl.String, "value": pl.Float64}))
    return pl.DataFrame(rows, schema_overrides={"scores": scores, "partition": pl.Int32})


def outcomes_frame(offsets: Sequence[int]) -> pl.DataFrame:
    rows = [
        {
            "trace_id": f"t-{offset}",
            "at": at(offset),
            "kind": "score",
            "name": "helpfulness",
            "value": 0.5,
            "source": "judge:grader@3",
            "assignments": [{"experiment": NAME, "variant": "small", "consent": None, "run": None, "epoch": None}],
            "attributes": [],
            "topic": "stoploss.outcomes",
            "topic_uuid": "uuid-of-outcomes",
            "partition": 1,
            "offset": offset,
        }
        for offset in offsets
    ]
    pairs = pl.List(pl.Struct({"key": pl.String, "value": pl.String}))
    return pl.DataFrame(rows, schema_overrides={"attributes": pairs})


def story() -> dict[str, list[Stored]]:
    """All records by stream; some are sent twice, and one of each kind that can be unreadable is."""
    acks = [
        Ack(COMMAND_ID, NAME, 1, 2, "flagd", "flagd-1", status, "", at(7))
        for status in (AckStatus.RECEIVED, AckStatus.APPLIED)
    ]
    signed = (("ce_id", COMMAND_ID.encode()), ("stoploss-signature", b"key-1:\x00\xff\xfe"))
    control = records.encode("command", command())
    clean = [
        clean_to_bytes(traces_frame(range(6))),
        clean_to_bytes(traces_frame(range(6, 10))),
        clean_to_bytes(outcomes_frame(range(3)), "outcomes"),
        clean_to_bytes(traces_frame(range(20, 23)).with_columns(role=pl.lit("shadow"))),
    ]
    return {
        "ledger": stored("ledger", [*map(ledger.encode, facts()), b"\x00\xff no fact"]),
        "journal": stored("journal", journal_values()),
        "checkpoints": stored("checkpoints", checkpoint_values(), headers=signed),
        "measures": stored("measures", [measures.encode(measure(step)) for step in range(STEPS)]),
        "control": stored("control", [control, control], headers=signed),
        "acks": stored("acks", [b"forged", *(records.encode("ack", ack) for ack in acks)]),
        "registry": stored(
            "registry",
            [registry.encode(registry_entry("running", 1)), registry.encode(registry_entry("rolled_back", 6)), None],
        ),
        "deadletter": stored("deadletter", [dead_letter(7, "truncated"), dead_letter(8, "truncated")], key=b"traces"),
        "traces_clean": stored("traces_clean", clean, key=None),
    }
