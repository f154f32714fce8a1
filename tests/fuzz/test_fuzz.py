"""Twenty thousand mutated inputs for intake, and some thousands for whatever else is read from outside.

A failing seed prints the line that repeats it: `python -m tests.fuzz NAME SEED`.
"""

from __future__ import annotations

from functools import partial

import pytest

from stoploss.embedded.clickhouse import EmbeddedClickHouse
from tests.fuzz import commands, contract, front, intake, otlp, specs, stored
from tests.fuzz.running import each


def test_intake_loses_no_good_neighbour_of_20_000_bad_records_and_says_why_each_was_refused() -> None:
    assert each("intake", intake.check, range(80)) >= 20_000


@pytest.mark.slow
def test_nor_of_a_million() -> None:
    assert each("intake", intake.check, range(80, 4_080)) >= 1_000_000


def test_damaged_otlp_is_refused_or_read_and_no_good_neighbour_is_lost() -> None:
    assert each("otlp", otlp.check, range(50)) >= 5_000


def test_every_record_of_the_contract_is_read_whole_or_refused() -> None:
    each("contract", contract.check, range(60))


def test_a_spec_is_refused_with_its_line_or_works_for_all_who_read_it() -> None:
    each("specs", specs.check, range(15))


def test_altered_snapshots_are_unreadable_and_never_anything_else() -> None:
    each("snapshots", stored.check_snapshot, range(150))


def test_a_damaged_ledger_entry_is_passed_over_and_the_judge_goes_on() -> None:
    each("ledger", stored.check_ledger, range(15))


def test_a_damaged_command_is_rejected_with_its_reason_and_never_ends_the_controller() -> None:
    each("commands", commands.check, range(40))


def test_a_damaged_request_gets_an_error_of_clickhouse_and_never_ends_the_embedded_one(
    clickhouse: EmbeddedClickHouse,
) -> None:
    each("front", partial(front.check, port=clickhouse.port), range(20))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "check", "seeds"),
    [
        ("contract", contract.check, 3_000),
        ("otlp", otlp.check, 10_000),
        ("commands", commands.check, 1_000),
        ("specs", specs.check, 2_000),
        ("snapshots", stored.check_snapshot, 5_000),
        ("ledger", stored.check_ledger, 500),
    ],
)
def test_nothing_is_found_in_larger_numbers(name: str, check: object, seeds: int) -> None:
    assert callable(check)
    each(name, check, range(10_000, 10_000 + seeds))
