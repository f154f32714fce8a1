"""D6: hits and false alarms on 2,000 labelled outputs in six languages, as docs/pii.md publishes them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from bench.pii import exact_interval, found_in, report
from stoploss.intake.pii_classes import BIT, CLASSES, PiiClass
from tests.intake.labelled import OUTPUTS, SEED, outputs
from tests.intake.labelled_frames import LANGUAGES

PAGE = (Path(__file__).parents[2] / "docs" / "pii.md").read_text()
TEXTS = outputs()
FOUND = found_in(TEXTS)


def test_the_published_tables_are_what_the_generator_gives() -> None:
    assert f"seed {SEED}" in PAGE
    for table in report().split("\n\n"):
        assert table in PAGE


def test_the_set_has_2000_outputs_each_class_in_each_language_and_the_same_ones_each_time() -> None:
    assert len(TEXTS) == OUTPUTS == 2_000
    counts = Counter((labelled.kind, labelled.language) for labelled in TEXTS if labelled.classes)
    assert counts == {(kind, language): 25 for kind in BIT for language in LANGUAGES}
    assert outputs() == TEXTS
    assert outputs(SEED + 1) != TEXTS


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.name)
def test_a_class_is_found_in_nearly_every_text_that_holds_it(cls: PiiClass) -> None:
    held = [cls.name in found for labelled, found in zip(TEXTS, FOUND, strict=True) if cls.name in labelled.classes]
    assert exact_interval(sum(held), len(held))[0] > 0.95


def test_only_numbers_in_the_very_form_of_an_ssn_trip_a_gate_without_being_personal_data() -> None:
    exposing = {cls.name for cls in CLASSES if cls.exposes}
    alarms = {
        (labelled.kind, name)
        for labelled, found in zip(TEXTS, FOUND, strict=True)
        for name in found & exposing - labelled.classes
    }
    assert alarms == {("item number written as an SSN is", "ssn")}


def test_limits_of_a_rate_are_exact() -> None:
    """Clopper and Pearson's limits hold 95 % where the normal ones would be 0 wide, or pass 1."""
    assert [round(limit, 4) for limit in exact_interval(0, 150)] == [0.0, 0.0243]
    assert [round(limit, 4) for limit in exact_interval(150, 150)] == [0.9757, 1.0]
    assert [round(limit, 4) for limit in exact_interval(5, 10)] == [0.1871, 0.8129]
