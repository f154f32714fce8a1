"""An organisation at work, by the command line: policy, roles, approvals, a start, and what is refused on the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stoploss.control.keys import create_person_keys
from stoploss.embedded.kafka import EmbeddedKafka
from stoploss.signing import load_public_key, raw_text
from tests.cli.conftest import Ended, Program, stoploss
from tests.governance.institution import POLICY_TEXT, edited
from tests.installation import Installation, installed

__all__ = ["stoploss"]

pytestmark = pytest.mark.kafka

ROLES = """
apiVersion: stoploss/v1alpha1
kind: Roles
people: {PEOPLE}
teams:
  search-team: {author: [ada], operator: [olga], approver: {product: [pia], privacy: [pia]}}
stewards: [carol]
"""
Asking = Callable[..., Ended]


@pytest.fixture(scope="module")
def organisation(kafka: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    home = tmp_path_factory.mktemp("organisation")
    keys = {name: create_person_keys(home / "keys" / "people", name) for name in ("ada", "olga", "pia", "carol")}
    people = ", ".join(f"{name}: {raw_text(load_public_key(pair.public))}" for name, pair in keys.items())
    (home / "roles.yaml").write_text(ROLES.replace("PEOPLE", people))
    with installed(kafka, home, roles_file=home / "roles.yaml") as found:
        found.worker("registrar", "judge", "courier")
        found.controller()
        yield found
        found.stop()


@pytest.fixture
def asks(stoploss: Program, organisation: Installation) -> Asking:
    """asks("ada", "register", ...): the command, signed by ada."""
    home = organisation.settings.home
    program = stoploss.of(organisation.settings)

    def ask(person: str, *arguments: str | Path) -> Ended:
        return program.set(person_key=home / "keys" / "people" / f"{person}.key")(*arguments)

    return ask


def test_an_experiment_goes_through_an_organisation(asks: Asking, tmp_path: Path) -> None:
    """W4, G2, G5, D8, R3: every refusal says why."""
    spec, policy = tmp_path / "spec.yaml", tmp_path / "policy.yaml"
    spec.write_text(edited(("taken: 2026-09-20", "taken: 2100-01-01")))
    policy.write_text(POLICY_TEXT)
    story = [
        ("ada", ["policy", policy], "policy is refused: ada is no steward, and only they put a policy in force"),
        ("carol", ["policy", policy], None),
        ("olga", ["register", spec], "olga may not register here: that takes the role author in team 'search-team'"),
        ("ada", ["register", spec], None),
        ("olga", ["start", "checkout"], "it is not approved: product has not approved; privacy has not approved"),
        ("pia", ["approve", "checkout", "--for", "product", "-m", "fine", "--up-to", "0.1"], None),
        ("pia", ["approve", "checkout", "--for", "privacy", "-m", "fine", "--valid-for", "30d"], None),
        ("olga", ["rollback", "checkout", "--dry-run"], None),
        (
            "olga",
            ["start", "checkout", "--exposure", "0.2"],
            "0.2 of the traffic is more than is approved: at most 0.1",
        ),
        ("olga", ["start", "checkout"], None),
        ("olga", ["ramp", "checkout", "--exposure", "0.1"], None),
        ("olga", ["stop", "checkout", "-m", "enough"], None),
        ("ada", ["complete", "checkout", "--decision", "iterate", "-m", "too early"], None),
        ("pia", ["reviewed", "checkout", "-m", "as told"], None),
    ]
    for person, arguments, why in story:
        ended = asks(person, *arguments)
        assert ended.code == (0 if why is None else 1), (person, arguments, ended.err)
        assert (why or "") in ended.err
    (status,) = json.loads(asks("ada", "status", "--json").out)
    assert status["lifecycle"] == "reviewed"
    assert status["people"][:2] == ["approved for product by pia", status["people"][1]]
    assert status["people"][1].startswith("approved for privacy by pia, until ")
    assert status["people"][-1] == "iterate decided by ada: too early"


def test_a_spec_is_looked_at_amended_and_cloned(asks: Asking, tmp_path: Path) -> None:
    """X9, X10"""
    name = ("name: checkout,", "name: basket,")
    spec = tmp_path / "spec.yaml"
    spec.write_text(edited(name))
    assert asks("ada", "register", spec).code == 0
    spec.write_text(edited(name, ("worthwhile: 0.01", "worthwhile: 0.02")))
    shown = asks("ada", "diff", "basket", spec).out.splitlines()
    assert shown == [
        "spec.success.worthwhile: 0.01 -> 0.02",
        "1 field of basket would change; approvals would be lost",
    ]
    assert "an amendment needs a reason" in asks("ada", "amend", spec).err
    assert asks("ada", "amend", spec, "-m", "the board said so").code == 0
    listed = asks("ada", "list").out.splitlines()
    assert "basket  registered  search-team  medium  The smaller model is as good." in listed
    assert asks("ada", "clone", "basket", "basket-again").code == 0
    assert Path("basket-again.yaml").read_text() == spec.read_text().replace("name: basket,", "name: basket-again,")
    assert "exists already" in asks("ada", "clone", "basket", "basket-again").err


def test_what_cannot_be_sent_is_told_before_it_is_sent(asks: Asking) -> None:
    approve = ["approve", "basket", "--for", "product", "-m", "fine"]
    for more, why in [
        (["--window", "mornings"], "'mornings' is no window; write it as 'Mon-Fri 09:00-17:00 Europe/Berlin'"),
        (["--window", "Mon-Fri 09:00-17:00 Berlin"], "'Berlin' is no time zone"),
        (["--without", "acme"], "'acme' is no segment; write it as tenant=acme"),
        (["--valid-for", "long"], "'long' is no duration"),
        (["--waive", "everything"], "waives"),
    ]:
        ended = asks("pia", *approve, *more)
        assert ended.code == 1
        assert why in ended.sentence
