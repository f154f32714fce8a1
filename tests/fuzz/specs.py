"""Experiments as people and their generators get them wrong: refused with line and field, or good for everybody."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from stoploss.errors import InvalidExperiment
from stoploss.experiment import Experiment
from stoploss.intake.watched import Watched
from stoploss.rules import rules_of
from stoploss.spec.checks import not_enforced_yet
from stoploss.spec.file import parse_experiment
from stoploss.state import RunState
from tests.fuzz.mutations import STRINGS
from tests.timelines import EVERY_RULE, spec

EXAMPLES = Path(__file__).parents[2] / "examples"
SCALARS = (
    *("~", ".nan", ".inf", "-.inf", "-1", "0", "1", "1e400", "1e-320", "9" * 30, "9" * 5_000, "0x" + "f" * 4_000, "0b"),
    *("0o9", "1_000", "1:60:60", "true", "yes", "'1'", '"\\uD800"', '"\\0"', '"\\u202e"', "💥", "x" * 70, ".", "="),
    *("<<", "!!bool x", "!!int ''", "!!int x", "!!float ''", "!!float x", "!!timestamp x", "!!binary '*'", "!!null x"),
    *("!!set {a, b}", "!!omap [a: 1]", "!!pairs [a: 1]", "!!str [a]", "!!python/object:os.system x", "!local x", "*a"),
    *("&a [*a]", "&a {b: *a}", "[]", "{}", "[[[]]]", "{? [a, b] : c}", "{<<: {a: 1}}", "{<<: [1]}", "2026-13-45"),
    *(
        "2001-12-14t21:59:43.10+99:99",
        "2001-12-14",
        "[" * 40 + "]" * 40,
        "[" * 2_000,
        "24h",
        "0s",
        "99999999999d",
        "-5m",
    ),
    *("control", "current", "small", "latency_ms", "tenant", "a×b×c", "other", "invalid", "path"),
)


@cache
def _whole() -> list[str]:
    return [path.read_text() for path in sorted(EXAMPLES.rglob("*.yaml"))] + [spec(EVERY_RULE)]


def check(seed: int) -> int:
    """Raises what parsing should not: anything but InvalidExperiment."""
    rng = Random(seed)
    for _ in range(20):
        text = _mutated(rng, rng.choice(_whole()))
        try:
            _check_usable(parse_experiment(text), text)
        except InvalidExperiment as error:
            _check_told(error)
    return 20


def _check_told(error: InvalidExperiment) -> None:
    """It can be printed, and names what is wrong and what to do."""
    str(error).encode()
    assert error.violations
    assert all(violation.field and violation.message for violation in error.violations), error


def _check_usable(experiment: Experiment, text: str) -> None:
    """What is accepted works for all who read it: registrar, intake, judge."""
    assert len(experiment.spec_hash) == 64
    assert not_enforced_yet(experiment) is not None
    assert rules_of(experiment)
    assert Watched.of(experiment, 0).metrics
    assert RunState.begin(text).rules
    assert all(map(math.isfinite, _numbers(experiment.model_dump()))), text


def _numbers(node: Any) -> list[float]:
    if isinstance(node, dict):
        return [number for held in node.values() for number in _numbers(held)]
    if isinstance(node, (list, tuple)):
        return [number for held in node for number in _numbers(held)]
    return [node] if isinstance(node, float) else []


def _mutated(rng: Random, text: str) -> str:
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        text = rng.choice((_value, _value, _value, _line, _characters))(rng, text)
    return text


def _value(rng: Random, text: str) -> str:
    """What stands behind a colon, or in a list, becomes something else."""
    places = [place for place, char in enumerate(text) if char in ":[,"]
    start = rng.choice(places) + 1
    end = min((at for at in (text.find(char, start) for char in ",]}\n") if at >= 0), default=len(text))
    return f"{text[:start]} {rng.choice(SCALARS)}{text[end:]}"


def _line(rng: Random, text: str) -> str:
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    changed = rng.choice(
        ([], [lines[at]] * 2, [f"  {lines[at]}"], [lines[at].lstrip()], [f"\t{lines[at]}"], [f"{lines[at]}:"])
    )
    return "\n".join([*lines[:at], *changed, *lines[at + 1 :]])


def _characters(rng: Random, text: str) -> str:
    start = rng.randrange(len(text))
    pieces = (
        "",
        "\x00",
        "\ufeff",
        "\ud800",
        "\x85",
        "\t",
        "'",
        '"',
        "|",
        ">",
        "%",
        "@",
        "`",
        "&",
        "*",
        "---\n",
        "...\n",
    )
    return text[:start] + rng.choice((*pieces, *STRINGS)) + text[start + rng.randrange(4) :]
