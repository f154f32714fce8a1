"""The registrar in an organisation: signed requests and roles, and the policy in every ledger partition."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from faust.types import TP

from stoploss import ledger
from stoploss.followup import FactorNoted, UnitErased, written
from stoploss.ledger import EDITION, Request
from stoploss.lifecycle import POLICY, RECORD
from stoploss.settings import Settings
from stoploss.signing import SIGNATURE_HEADER
from stoploss.wire import records
from streams.batches import Batch
from streams.policy import read_policy
from streams.registrar import Registrar, opinion
from tests.governance.institution import POLICY_TEXT, SPEC_TEXT, edited
from tests.governance.people import ROLES_TEXT, SIGNERS
from tests.installation import Kafka, appending, installed, messages, values

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def settings(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    home = tmp_path_factory.mktemp("institution")
    (home / "roles.yaml").write_text(ROLES_TEXT)
    with installed(kafka, home, roles_file=home / "roles.yaml") as installation:
        yield installation.settings


@pytest.fixture
def registrar(settings: Settings) -> Iterator[Registrar]:
    registrar = Registrar(settings)
    yield registrar
    registrar._registry.stop()


def request(by: str, action: str, spec: str | None = None, **changes: object) -> Request:
    name = "" if action == POLICY else "checkout"
    base = Request(f"{by}-{action}", name, action, by, "because", time.time_ns() // 1_000, spec)
    return replace(base, **changes)  # type: ignore[arg-type]


def handled(settings: Settings, registrar: Registrar, *requests: Request, signed: bool = True) -> list[Request]:
    """The requests as they then stand in the ledger."""
    before = len(in_ledger(settings))
    appender = appending(settings)
    for one in requests:
        value = records.encode("request", one)
        headers = [(SIGNATURE_HEADER, SIGNERS[one.by].sign(value).encode())] if signed else []
        appender.append(settings.topics("experiments"), value, key=b"k", partition=0, headers=headers)
    appender.flush()
    found = messages(settings, "experiments", 0)
    registrar._append_all(Batch(TP(settings.topics("experiments"), 0), found[-len(requests) :], 1))
    return in_ledger(settings)[before:]


def in_ledger(settings: Settings) -> list[Request]:
    """In the order of their places on the topic of requests."""
    facts = [ledger.decode(value) for partition in (0, 1) for value in values(settings, "ledger", partition)]
    asked = [fact for fact in facts if isinstance(fact, Request)]
    return sorted(asked, key=lambda fact: (int((fact.source or "0").rpartition("/")[2]), fact.partition or 0))


def test_a_policy_stands_in_every_ledger_partition_and_binds_the_next_registration(
    settings: Settings, registrar: Registrar
) -> None:
    """W4, G5"""
    told = handled(settings, registrar, request("carol", POLICY, POLICY_TEXT))
    assert [(fact.partition, fact.accepted, fact.experiment) for fact in told] == [(0, True, ""), (1, True, "")]
    tiny = edited(("labels: {risk: medium}", "labels: {risk: tiny}"))
    (refused,) = handled(settings, registrar, request("ada", "register", tiny))
    assert refused.accepted is False
    assert (refused.opinion or "").startswith(
        "policy 'house-rules' does not allow the spec: metadata.labels.risk: 'tiny' is no class of risk of the policy"
    )


def test_the_policy_in_force_can_be_read_by_whoever_takes_over(settings: Settings) -> None:
    """W4"""
    found = read_policy(settings)
    assert found is not None
    assert (found.spec, found.by) == (POLICY_TEXT, "carol")


def test_a_policy_of_somebody_without_the_right_is_told_and_not_kept(settings: Settings, registrar: Registrar) -> None:
    """G5"""
    text = edited(("house-rules", "coup"), text=POLICY_TEXT)
    told = handled(settings, registrar, request("ada", POLICY, text))
    assert {(fact.accepted, fact.opinion) for fact in told} == {
        (False, "ada is no steward, and only they put a policy in force")
    }
    assert (read_policy(settings) or request("x", POLICY)).spec == POLICY_TEXT


def test_an_experiment_goes_its_way_among_people_with_roles(settings: Settings, registrar: Registrar) -> None:
    """G5: an author registers, approvers approve, an operator starts; the registry does not show it yet."""
    asked = [
        request("ada", "register", SPEC_TEXT),
        request("olga", "approve", body='{"domain": "product"}'),
        request("pia", "approve", body='{"domain": "product"}'),
        request("ada", "start"),
        request("olga", "start"),
        request("oskar", "stop"),
    ]
    told = handled(settings, registrar, *asked)
    assert [fact.accepted for fact in told] == [True, False, True, False, True, True]
    assert {fact.key_id for fact in told} == {SIGNERS[one.by].key_id for one in asked}
    assert told[1].opinion == (
        "olga may not approve here: that takes the role approver for product in team 'search-team', which pia has"
    )


def test_without_a_signature_nothing_is_accepted(settings: Settings, registrar: Registrar) -> None:
    """G5"""
    (refused,) = handled(settings, registrar, request("ada", "register", SPEC_TEXT, request_id="again"), signed=False)
    assert refused.accepted is False
    assert (refused.opinion or "").startswith("not signed: the header stoploss-signature is missing")


def test_of_no_experiment_only_an_erasure_is_put_on_record() -> None:
    """P3: what cannot be put down to an experiment; all else that people record is of one."""
    erased, noted = (
        UnitErased(unit="0" * 32, rows={"dead_letters": 1}),
        FactorNoted(command_id="0" * 64, text="no test"),
    )
    assert opinion(request("ada", RECORD, body=written(erased), experiment="")).accepted
    refused = opinion(request("ada", RECORD, body=written(noted), experiment=""))
    assert refused.opinion == "a record of kind factor_noted is of an experiment, and this one names none"
    assert opinion(request("ada", RECORD, body=written(noted))).accepted


def test_a_key_that_somebody_sends_along_is_not_believed() -> None:
    assert opinion(request("olga", "stop", key_id="forged")).key_id is None


def test_nobody_asks_by_the_rules_of_older_ledgers() -> None:
    assert opinion(request("ada", "register", SPEC_TEXT, edition=None)).edition == EDITION


@pytest.mark.parametrize(
    ("text", "experiment", "why"),
    [
        ("kind: Policy", "", "spec: is required"),
        (POLICY_TEXT, "checkout", "a policy is of no single experiment, and this one names 'checkout'"),
    ],
)
def test_what_is_no_policy_is_refused_with_the_reason(text: str, experiment: str, why: str) -> None:
    found = opinion(request("carol", POLICY, text, experiment=experiment))
    assert found.accepted is False
    assert why in (found.opinion or "")
