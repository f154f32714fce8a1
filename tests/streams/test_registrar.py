"""The registrar: its opinion, where it sends a request, and what it does with what it cannot place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Message
from faust.types import TP

from stoploss import ledger, registry
from stoploss.ledger import Fact, Request
from stoploss.registry import RegistryEntry
from stoploss.settings import Settings
from stoploss.wire import records
from streams.batches import Batch
from streams.registrar import Registrar, opinion, partition_for
from tests.installation import Kafka, appending, installed, letters_of, messages, values
from tests.timelines import SPEC, Timeline


def request(action: str = "register", **changes: object) -> Request:
    base = Request("r1", "checkout", action, "ada", "because", 0, SPEC if action == "register" else None)
    return replace(base, **changes)  # type: ignore[arg-type]


# ---- its opinion ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (request("explode"), "unknown action 'explode'; known actions: register, amend"),
        (request("start", exposure=0.0), "exposure 0.0 is not above 0 and at most 1"),
        (request("start", exposure=1.5), "exposure 1.5 is not above 0 and at most 1"),
        (request("resume", exposure=float("nan")), "exposure nan is not above 0"),
        (request(spec=None), "the spec of 'checkout' is refused"),
        (request(spec="a: [1"), "the spec of 'checkout' is refused"),
        (request(spec=SPEC.replace("control: current", "control: nobody")), "control"),
        (request(experiment="other"), "the spec is of 'checkout', the request of 'other'"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(asked: Request, why: str) -> None:
    answer = opinion(asked)
    assert answer.accepted is False
    assert why in (answer.opinion or "")
    assert answer.spec_hash is None


TWO_UNITS = SPEC.replace("{name: small,", "{name: small, model: small-1, prompt: short@v2,")


def test_variants_that_change_two_units_are_refused_unless_the_spec_declares_factors() -> None:
    """X1: with or without a policy."""
    answer = opinion(request(spec=TWO_UNITS))
    assert answer.accepted is False
    assert (answer.opinion or "").startswith(
        "spec.variants: the variants differ in prompt and model, the spec names model, so an effect could not be put "
        "down to one: change one unit, or declare factors: [prompt, model]"
    )
    assert opinion(request(spec=f"{TWO_UNITS}  factors: [prompt, model]\n")).accepted


@pytest.mark.parametrize("action", ["start", "pause", "resume", "stop", "rollback"])
def test_what_the_lifecycle_may_allow_is_left_to_the_judge(action: str) -> None:
    answer = opinion(request(action))
    assert (answer.accepted, answer.opinion) == (True, "")


def test_a_registration_that_is_right_is_given_the_hash_of_its_spec() -> None:
    answer = opinion(request())
    assert (answer.accepted, answer.opinion, answer.spec_hash) == (True, "", Timeline().experiment.spec_hash)


def test_an_opinion_that_somebody_sends_along_is_not_believed() -> None:
    answer = opinion(request("explode", accepted=True, opinion="fine"))
    assert answer.accepted is False


def test_a_new_experiment_is_given_the_same_partition_by_every_registrar() -> None:
    given = [partition_for(f"experiment-{number}", 16) for number in range(200)]
    assert given == [partition_for(f"experiment-{number}", 16) for number in range(200)]
    assert set(given) == set(range(16))


# ---- on the real broker --------------------------------------------------------------------------


@pytest.fixture
def settings(kafka: Kafka, tmp_path: Path) -> Iterator[Settings]:
    with installed(kafka, tmp_path) as installation:
        yield installation.settings


@pytest.fixture
def registrar(settings: Settings) -> Iterator[Registrar]:
    registrar = Registrar(settings)
    yield registrar
    registrar._registry.stop()


def asked(settings: Settings, *requests: Request | bytes) -> Batch:
    """The requests as a registrar is given them."""
    appender = appending(settings)
    for one in requests:
        value = one if isinstance(one, bytes) else records.encode("request", one)
        appender.append(settings.topics("experiments"), value, key=b"k", partition=0)
    appender.flush()
    found = messages(settings, "experiments", 0)
    return Batch(TP(settings.topics("experiments"), 0), found[-len(requests) :], 1)


def in_ledger(settings: Settings) -> list[tuple[int, Fact]]:
    return [(p, ledger.decode(value)) for p in (0, 1) for value in values(settings, "ledger", p)]


@pytest.mark.kafka
def test_a_request_stands_in_the_ledger_of_its_experiment_with_opinion_partition_and_source(
    settings: Settings, registrar: Registrar
) -> None:
    registrar._append_all(asked(settings, request(), request("start", request_id="r2")))
    home = partition_for("checkout", 2)
    found = in_ledger(settings)
    assert [(partition, fact.action) for partition, fact in found if isinstance(fact, Request)] == [
        (home, "register"),
        (home, "start"),
    ]
    first = found[0][1]
    assert isinstance(first, Request)
    assert (first.partition, first.accepted) == (home, True)
    assert (first.source or "").endswith("/0/0")


@pytest.mark.kafka
def test_the_partition_that_was_written_down_is_valid_whatever_a_name_would_be_given_today(settings: Settings) -> None:
    home = 1 - partition_for("checkout", 2)
    entry = RegistryEntry(
        "checkout", home, SPEC, "hash", "registered", 0, 0, 0, "current", 0.0, (), None, changed_at=0, offset=0
    )
    appender = appending(settings)
    appender.append(settings.topics("registry"), registry.encode(entry), key=b"checkout", partition=home)
    appender.flush()
    registrar = Registrar(settings)
    registrar._append_all(asked(settings, request("start")))
    registrar._registry.stop()
    assert [partition for partition, _ in in_ledger(settings)] == [home]


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("action", "exposure", "why"),
    [
        ("start", None, "the experiment is not registered; register its spec first"),
        ("start", 1.5, "exposure 1.5 is not above 0 and at most 1"),
        ("explode", None, "unknown action 'explode'"),
    ],
)
def test_a_request_for_an_experiment_that_nobody_registered_is_answered_and_not_obeyed_later(
    settings: Settings, registrar: Registrar, action: str, exposure: float | None, why: str
) -> None:
    """Whoever asks reads the ledger for the answer (cli/asking.py): no dead letter is one."""
    registrar._append_all(asked(settings, request(action, exposure=exposure), request(request_id="r2")))
    (home, refused), (where, registered) = in_ledger(settings)
    assert isinstance(refused, Request)
    assert isinstance(registered, Request)
    assert (home, refused.partition, refused.accepted) == (where, where, False)
    assert (refused.opinion or "").startswith(why)
    assert registered.accepted
    assert letters_of(settings) == []
    judged = Timeline()
    for fact in (refused, registered):
        judged.append(fact)
    assert judged.it.lifecycle == "registered"


@pytest.mark.kafka
def test_what_is_no_request_is_a_dead_letter_and_its_neighbours_go_through(
    settings: Settings, registrar: Registrar
) -> None:
    registrar._append_all(asked(settings, request(), b"no request", request("start", request_id="r2")))
    assert len(in_ledger(settings)) == 2
    (letter,) = letters_of(settings)
    assert (letter.code, letter.value, letter.offset) == ("malformed", b"no request", 1)


@pytest.mark.kafka
def test_a_request_that_would_not_fit_into_the_ledger_is_a_dead_letter_and_ends_nobody(
    settings: Settings, registrar: Registrar
) -> None:
    """Clients in Java may send more than the registrar's own may: each that reads such a one would end."""
    asked_for = (request(), request("note", reason="x" * 1_040_000), request("start", request_id="r2"))
    topic, values_of = settings.topics("experiments"), [records.encode("request", one) for one in asked_for]
    found = [Message(topic, 0, place, b"k", value, timestamp=(1, 0)) for place, value in enumerate(values_of)]
    registrar._append_all(Batch(TP(topic, 0), found, 1))
    assert len(in_ledger(settings)) == 2
    (letter,) = letters_of(settings)
    assert (letter.code, letter.offset) == ("too_large", 1)


@pytest.mark.kafka
def test_requests_read_again_after_a_crash_are_handled_once(settings: Settings, registrar: Registrar) -> None:
    batch = asked(settings, request(), request("start", request_id="r2"))
    registrar._append_all(batch)
    registrar._append_all(batch)
    facts = [fact for _, fact in in_ledger(settings)]
    assert len(facts) == 4
    judged = Timeline()
    for fact in facts:
        judged.append(fact)
    once = Timeline()
    for fact in facts[:2]:
        once.append(fact)
    assert judged.journal == once.journal
