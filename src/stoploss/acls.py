"""Who may do what on Kafka: one table for creating the ACLs, printing them and trying every forbidden act.

Nobody may do more than his line says. Only the judge writes what it concludes; only judge, courier (re-sends) and the
people who may break the glass write commands, and receivers believe none that is not signed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stoploss.settings import Settings
from stoploss.topics import TOPICS

READER = "stoploss-reader"
"""What a client that only reads calls its group: librdkafka wants a name, and asks where the group would be kept."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What one kind of user needs.

    reads, writes  topics without prefix
    group          consumer group that it joins, without `stoploss-<installation>-`; None: none
    transactional  prefix of its transactional ids, likewise; None: it uses none
    place          group that nobody joins, likewise: how far it is done, kept in its transactions; None: none
    named          beginning of the name of groups that it never joins
    keeps          topics whose retention it sets
    """

    user: str
    is_for: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    group: str | None = None
    transactional: str | None = None
    named: str = READER
    place: str | None = None
    keeps: tuple[str, ...] = ()


RECORDED = ("traces_clean", "ledger", "journal", "checkpoints", "measures", "control", "acks", "registry", "deadletter")
OF_JUDGE = ("journal", "checkpoints", "measures", "control", "leases", "registry", "snapshots")
FEEDS = ("ledger", "traces_clean", "deadletter", "schemas")
COUNTED = ("traces", "outcomes", "assignments")
OF_IDS = tuple(topic.name for topic in TOPICS.values() if topic.holds == "ids")
RETRIES = ("outcomes_retry_1m", "outcomes_retry_10m", "outcomes_retry_1h")

GRANTS: dict[str, Grant] = {
    grant.user: grant
    for grant in (
        Grant("service", "the SDK", ("control", "leases"), COUNTED, named="stoploss-service"),
        Grant("intake", "role", ("traces", "registry", "schemas"), FEEDS, "intake"),
        Grant("joiner", "role", ("outcomes", "outcomes_resolved", "registry", "schemas"), FEEDS, "joiner"),
        Grant(
            "resolver",
            "role",
            ("outcomes", *RETRIES, "schemas"),
            ("outcomes_resolved", *RETRIES, "schemas"),
            "resolver",
            "resolver-",
            place="resolver-place",
        ),
        Grant("collector", "OpenTelemetry Collector", (), ("otlp_spans", "otlp_logs")),
        Grant(
            "otlp",
            "role",
            ("otlp_spans", "otlp_logs", "registry", "schemas"),
            ("traces", "outcomes", "ledger", "deadletter", "schemas"),
            "otlp",
        ),
        Grant(
            "registrar",
            "role; the canaries among the traces are its",
            ("experiments", "assignments", "registry", "journal", "schemas", "policy"),
            ("ledger", "deadletter", "traces", "schemas", "policy"),
            "registrar",
        ),
        Grant(
            "judge",
            "role",
            ("ledger", "snapshots", "registry", "schemas"),
            (*OF_JUDGE, "ledger", "deadletter", "schemas"),
            "judge",
            "judge-",
        ),
        Grant(
            "courier",
            "role",
            ("control", "acks", "journal", "registry", "schemas"),
            ("ledger", "control", "deadletter", "schemas"),
            "courier",
        ),
        Grant("recorder", "role", (*RECORDED, "schemas"), (), "recorder"),
        Grant("retention", "stoploss retention: how long topics with ids keep them", ("registry",), keeps=OF_IDS),
        Grant("controller", "role", ("control", "registry"), ("acks",), named="stoploss-controller-"),
        Grant(
            "person",
            "requests, status, replay",
            ("journal", "registry", "ledger", "schemas", "policy"),
            ("experiments",),
        ),
        Grant("deadletter", "stoploss deadletter: raw bytes", ("deadletter",), ("traces", "outcomes", "experiments")),
        Grant("break-glass", "stoploss break-glass", ("registry", "acks"), ("control",)),
    )
}


@dataclass(frozen=True, slots=True)
class Acl:
    """One thing that is allowed; as `kafka-acls` has it.

    resource  topic | group | transactional-id
    pattern   literal | prefixed
    """

    principal: str
    resource: str
    name: str
    pattern: str
    operation: str

    def command(self, bootstrap: str) -> str:
        """How Kafka's own tool would allow it."""
        return (
            f"kafka-acls --bootstrap-server {bootstrap} --add --allow-principal {self.principal} "
            f"--operation {self.operation} --{self.resource} {self.name} --resource-pattern-type {self.pattern}"
        )


def principal(user: str, settings: Settings) -> str:
    """Users are named after installation and role, as the consumer groups are."""
    return f"User:stoploss-{settings.installation}-{user}"


def acls_of(grant: Grant, settings: Settings) -> Iterator[Acl]:
    who, own = principal(grant.user, settings), f"stoploss-{settings.installation}-"
    for operation, topics in (("Read", grant.reads), ("Write", grant.writes)):
        for topic in topics:
            yield Acl(who, "topic", settings.topics(topic), "literal", operation)
    for operation in ("Describe", "DescribeConfigs", "AlterConfigs") if grant.keeps else ():
        for topic in grant.keeps:
            yield Acl(who, "topic", settings.topics(topic), "literal", operation)
    for group in filter(None, (grant.group, grant.place)):
        yield Acl(who, "group", f"{own}{group}", "literal", "Read")
    yield Acl(who, "group", grant.named, "prefixed", "Describe")
    if grant.transactional is not None:
        for operation in ("Write", "Describe"):
            yield Acl(who, "transactional-id", f"{own}{grant.transactional}", "prefixed", operation)


def all_acls(settings: Settings) -> list[Acl]:
    return [acl for grant in GRANTS.values() for acl in acls_of(grant, settings)]
