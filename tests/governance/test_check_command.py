"""`stoploss check`, the step in CI (E1): every violation by line, and an exit code that a pipeline understands."""

from __future__ import annotations

from pathlib import Path

from stoploss.cli.governing import renamed
from stoploss.spec.file import parse_experiment
from tests.cli.conftest import Program, stoploss
from tests.governance.institution import POLICY_TEXT, SPEC_TEXT, edited

__all__ = ["stoploss"]


def written(**texts: str) -> None:
    for name, text in texts.items():
        Path(f"{name}.yaml").write_text(text)


def test_a_spec_that_meets_the_policy_is_allowed(stoploss: Program) -> None:
    """E1"""
    written(spec=SPEC_TEXT, policy=POLICY_TEXT)
    ended = stoploss("check", "spec.yaml", "--policy", "policy.yaml")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "spec.yaml: checkout is well-formed, and policy house-rules allows it\n"


def test_every_violation_of_the_policy_is_named_with_its_line(stoploss: Program) -> None:
    """E1: high risk, with too much error, too much traffic, no risks and no evaluation."""
    text = edited(("labels: {risk: medium}", "labels: {risk: high}"), ("stages: [0.05, 0.2]", "stages: [0.05, 0.3]"))
    written(spec=text, policy=POLICY_TEXT)
    ended = stoploss("check", "spec.yaml", "--policy", "policy.yaml")
    assert ended.code == 1
    lines = {word: number for number, line in enumerate(text.splitlines(), 1) for word in line.split()}
    told = {line.split(": ")[1] for line in ended.err.splitlines()}
    assert told == {
        f"line {lines['[0.05,']}, spec.ramp.stages[1]",
        f"line {lines['spec:']}, spec",
        f"line {lines['spec:']}, spec.evidence.offline",
    }


def test_a_spec_that_is_not_well_formed_needs_no_policy_to_be_refused(stoploss: Program) -> None:
    written(spec=edited(("unit: model", "unit: poem")))
    ended = stoploss("check", "spec.yaml")
    assert ended.code == 1
    assert ended.sentence.startswith("spec.yaml: line 7, spec.unit: ")


def test_without_a_policy_it_says_what_it_has_not_checked(stoploss: Program) -> None:
    written(spec=SPEC_TEXT)
    ended = stoploss("check", "spec.yaml")
    assert ended.code == 0
    assert "--policy checks it against the organisation's policy" in ended.out


def test_a_policy_that_is_wrong_is_named_itself(stoploss: Program) -> None:
    written(spec=SPEC_TEXT, policy=edited(("kind: Policy", "kind: Poem"), text=POLICY_TEXT))
    ended = stoploss("check", "spec.yaml", "--policy", "policy.yaml")
    assert (ended.code, ended.sentence.split(",")[0]) == (1, "policy.yaml: line 3")


def test_a_key_of_a_person_comes_with_its_line_for_the_roles(stoploss: Program, tmp_path: Path) -> None:
    ended = stoploss("keys", "--person", "ada")
    assert ended.code == 0
    people = tmp_path / "home" / "keys" / "people"
    assert oct((people / "ada.key").stat().st_mode & 0o777) == "0o600"
    assert ended.out.splitlines()[1].startswith("the line for people in roles.yaml: ada: ")
    assert "is no name" in stoploss("keys", "--person", "../ada").sentence


def test_a_clone_differs_in_its_name_alone() -> None:
    """X9"""
    text = renamed(SPEC_TEXT, "checkout-again")
    assert parse_experiment(text).name == "checkout-again"
    assert text.replace("checkout-again", "checkout") == SPEC_TEXT
