"""P6, least privilege: SCRAM over TLS and ACLs on the real broker. What a user may do is tried, and all the rest."""

from __future__ import annotations

import secrets
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from confluent_kafka import (  # type: ignore[attr-defined]
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic

from stoploss.acls import GRANTS, all_acls
from stoploss.control.credentials import Authority
from stoploss.errors import ConfigurationError
from stoploss.kafka import KafkaAddress, connection
from stoploss.settings import Settings
from stoploss.topics import TOPICS
from streams.admin import Admin
from tests.installation import settings_of

from .broker import SecureKafka

pytestmark = pytest.mark.kafka

WAIT_S = 60.0
REFUSED = KafkaError.TOPIC_AUTHORIZATION_FAILED
USERS = sorted(GRANTS)


@dataclass
class World:
    """Topics that nobody works on, and every user of the table."""

    kafka: SecureKafka
    settings: Settings
    passwords: dict[str, str] = field(default_factory=dict)

    def address(self, user: str) -> KafkaAddress:
        return self.kafka.address(f"stoploss-{self.settings.installation}-{user}", self.passwords[user])

    def of(self, user: str) -> dict[str, object]:
        return {**connection(self.address(user)), "log_level": 0}

    def name(self, topic: str) -> str:
        return self.settings.topics(topic)


@pytest.fixture(scope="module")
def world(secure_kafka: SecureKafka, tmp_path_factory: pytest.TempPathFactory) -> World:
    settings = settings_of(secure_kafka, tmp_path_factory.mktemp("home"), **secure_kafka.admin_settings)
    admin = Admin(settings.need_kafka())
    admin.create(settings)
    admin.allow(all_acls(settings))
    made = World(secure_kafka, settings)
    for user in USERS:
        made.passwords[user] = secrets.token_hex(16)
        secure_kafka.add_user(f"stoploss-{settings.installation}-{user}", made.passwords[user])
    return made


def outcome(error: KafkaError | None) -> bool:
    """Whether it was allowed; any other failure than a refusal fails the test."""
    assert error is None or error.code() == REFUSED, error
    return error is None


def written(world: World, user: str) -> set[str]:
    """The topics to which this user can write."""
    allowed: set[str] = set()
    producer = Producer(world.of(user))
    for topic in TOPICS:

        def told(error: KafkaError | None, _: Message, topic: str = topic) -> None:
            if outcome(error):
                allowed.add(topic)

        producer.produce(world.name(topic), b"x", b"key", on_delivery=told)
    assert producer.flush(WAIT_S) == 0
    return allowed


def described(consumer: Consumer, name: str) -> KafkaError | None:
    return consumer.list_topics(name, WAIT_S).topics[name].error


def group_named_by(world: World, user: str) -> str:
    """A client must name a group even where it only reads."""
    own = GRANTS[user].group
    return f"stoploss-{world.settings.installation}-{own}" if own else f"{GRANTS[user].named}x"


def read(world: World, user: str) -> set[str]:
    """The topics that this user can read to their end."""
    consumer = Consumer(
        {
            **world.of(user),
            "group.id": group_named_by(world, user),
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
    )
    known = [topic for topic in TOPICS if outcome(described(consumer, world.name(topic)))]
    names = {world.name(topic): topic for topic in known}
    consumer.assign([TopicPartition(name, 0, OFFSET_BEGINNING) for name in names])
    allowed: dict[str, bool] = {}
    while len(allowed) < len(names):
        message = consumer.poll(WAIT_S)
        assert message is not None, f"no word on {set(names.values()) - set(allowed)}"
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            assert error.code() == REFUSED, error
        allowed[names[message.topic() or ""]] = error is None or error.code() == KafkaError._PARTITION_EOF
    consumer.close()
    return {topic for topic, may in allowed.items() if may}


@pytest.mark.parametrize("user", USERS)
def test_a_user_writes_what_its_line_says_and_is_refused_everything_else(world: World, user: str) -> None:
    assert written(world, user) == set(GRANTS[user].writes)


@pytest.mark.parametrize("user", USERS)
def test_a_user_reads_what_its_line_says_and_is_refused_everything_else(world: World, user: str) -> None:
    assert read(world, user) == set(GRANTS[user].reads)


def test_only_judge_courier_and_people_in_need_may_write_commands() -> None:
    assert {user for user, grant in GRANTS.items() if "control" in grant.writes} == {"judge", "courier", "break-glass"}
    assert {user for user, grant in GRANTS.items() if "journal" in grant.writes} == {"judge"}


@pytest.mark.parametrize("user", USERS)
def test_a_user_makes_no_topic_and_grants_itself_nothing(world: World, user: str) -> None:
    own = AdminClient(world.of(user))
    [made] = own.create_topics([NewTopic(f"{world.settings.topic_prefix}more", 1, 1)]).values()
    with pytest.raises(KafkaException, match="AUTHORIZATION_FAILED"):
        made.result(WAIT_S)
    with pytest.raises(ConfigurationError, match="is refused"):
        Admin(world.address(user)).allow(all_acls(world.settings)[:1])


@pytest.mark.parametrize("user", [user for user in USERS if GRANTS[user].reads])
def test_a_user_joins_no_group_of_another(world: World, user: str) -> None:
    """Whoever joins a role's group takes its partitions away."""
    other = "courier" if user == "judge" else "judge"
    consumer = Consumer({**world.of(user), "group.id": f"stoploss-{world.settings.installation}-{other}"})
    consumer.subscribe([world.name(topic) for topic in GRANTS[user].reads])
    message = consumer.poll(WAIT_S)
    assert message is not None
    error = message.error()
    assert error is not None
    assert error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
    consumer.close()


GROUPS = sorted({group for grant in GRANTS.values() for group in (grant.group, grant.place) if group})


def may(future: Future[object], refused: int = REFUSED) -> bool:
    """As `outcome`, of what an administrator's client is asked."""
    error = future.exception(WAIT_S)
    assert error is None or (isinstance(error, KafkaException) and error.args[0].code() == refused), error
    return error is None


@pytest.mark.parametrize("user", USERS)
def test_a_user_moves_no_place_but_its_own(world: World, user: str) -> None:
    """Whoever commits offsets of a role's group makes it pass over what it has not done, or do it again."""
    own, grant = AdminClient(world.of(user)), GRANTS[user]
    moved = set()
    for group in GROUPS:
        read = TopicPartition(world.name((grant.reads or ("traces",))[0]), 0, 0)
        named = f"stoploss-{world.settings.installation}-{group}"
        [future] = own.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(named, [read])]).values()
        if may(future, KafkaError.GROUP_AUTHORIZATION_FAILED):
            moved.add(group)
    assert moved == {group for group in (grant.group, grant.place) if group}


@pytest.mark.parametrize("user", USERS)
def test_a_user_deletes_no_topic_and_nothing_on_one(world: World, user: str) -> None:
    own, names = AdminClient(world.of(user)), [world.name(topic) for topic in TOPICS]
    before_all = [TopicPartition(name, 0, 0) for name in names]
    for futures in (own.delete_topics(names), own.delete_records(before_all)):
        assert [name for name, future in futures.items() if may(future)] == []


@pytest.mark.parametrize("user", USERS)
def test_a_user_alters_the_configuration_of_the_topics_that_its_line_names(world: World, user: str) -> None:
    """Whoever may say how long a topic keeps its records can have them deleted."""
    own = AdminClient(world.of(user))
    named = {_keeping(world.name(topic), TOPICS[topic].retention_ms): topic for topic in TOPICS}
    altered = own.incremental_alter_configs(list(named))
    assert {named[resource] for resource, future in altered.items() if may(future)} == set(GRANTS[user].keeps)


def _keeping(name: str, retention_ms: int) -> ConfigResource:
    entry = ConfigEntry("retention.ms", str(retention_ms), incremental_operation=AlterConfigOpType.SET)
    return ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])


OWNERS = {grant.transactional: user for user, grant in GRANTS.items() if grant.transactional is not None}


@pytest.mark.parametrize("owned", sorted(OWNERS))
@pytest.mark.parametrize("user", USERS)
def test_nobody_takes_the_place_of_another_who_has_transactions(world: World, user: str, owned: str) -> None:
    """Opening another's transactional id would fence its owner: whoever may do it can stop it for good."""
    identity = f"stoploss-{world.settings.installation}-{owned}0"
    producer = Producer({**world.of(user), "transactional.id": identity})
    if user == OWNERS[owned]:
        producer.init_transactions(WAIT_S)
        return
    with pytest.raises(KafkaException, match="TRANSACTIONAL_ID_AUTHORIZATION_FAILED"):
        producer.init_transactions(WAIT_S)


def test_judge_and_resolver_alone_have_transactions() -> None:
    assert OWNERS == {"judge-": "judge", "resolver-": "resolver"}


def refused_by(address: KafkaAddress) -> None:
    """Nobody is let in with this address: the one word about it comes by way of the error callback."""
    told: list[KafkaError] = []
    client = AdminClient({**connection(address), "log_level": 0, "error_cb": told.append})
    with pytest.raises(KafkaException):
        client.list_topics(timeout=5.0)
    client.poll(1.0)
    assert told


def test_a_wrong_password_is_refused(world: World) -> None:
    refused_by(world.kafka.address(f"stoploss-{world.settings.installation}-judge", "wrong"))


def test_a_broker_that_another_authority_vouches_for_is_not_believed(world: World, tmp_path: Path) -> None:
    right = world.address("judge")
    (tmp_path / "ca.pem").write_bytes(Authority.new("another").pem)
    refused_by(KafkaAddress(str(right), replace(right.security, ca_file=tmp_path / "ca.pem")))


def test_an_address_shows_no_secret(world: World) -> None:
    address = world.address("judge")
    for shown in (str(address), repr(address), f"{address}", repr(address.security), repr(world.settings)):
        assert address.security.password not in shown
        assert str(world.kafka.admin_settings["kafka_password"]) not in shown
