"""Twenty thousand mutated inputs for whatever is read from outside, most of them for intake; the slow ones go further.

A failing seed prints the line that repeats it: `python -m tests.fuzz NAME SEED`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.embedded.kafka import EmbeddedKafka
from tests.fuzz import acks, commands, console, contract, front, health, intake, otlp, specs, stored
from tests.fuzz.running import each


def test_intake_loses_no_good_neighbour_of_bad_records_and_says_why_each_was_refused() -> None:
    assert each("intake", intake.check, range(44)) >= 11_000


@pytest.mark.slow
def test_nor_of_a_million() -> None:
    assert each("intake", intake.check, range(80, 4_080)) >= 1_000_000


def test_damaged_otlp_is_refused_or_read_and_no_good_neighbour_is_lost() -> None:
    assert each("otlp", otlp.check, range(25)) >= 2_500


def test_every_record_of_the_contract_is_read_whole_or_refused() -> None:
    assert each("contract", contract.check, range(30)) >= 3_000


def test_a_spec_is_refused_with_its_line_or_works_for_all_who_read_it() -> None:
    each("specs", specs.check, range(15))


def test_altered_snapshots_are_unreadable_and_never_anything_else() -> None:
    each("snapshots", stored.check_snapshot, range(150))


def test_a_damaged_ledger_entry_is_passed_over_and_the_judge_goes_on() -> None:
    each("ledger", stored.check_ledger, range(15))


def test_a_damaged_command_is_rejected_with_its_reason_and_never_ends_the_controller() -> None:
    assert each("commands", commands.check, range(30)) >= 600


def test_a_damaged_ack_neither_ends_the_courier_nor_hides_a_good_one(acks_read: acks.Read) -> None:
    """Nor does a damaged command or registry entry end a controller that starts."""
    assert each("acks", partial(acks.check, read=acks_read), range(10)) >= 1_000


def test_a_damaged_probe_gets_an_answer_and_the_next_is_answered(health_port: int) -> None:
    assert each("health", partial(health.check, port=health_port), range(40)) >= 800


def test_a_damaged_request_to_the_console_is_answered_and_asks_for_nothing(console_asked: console.Asked) -> None:
    assert each("console", partial(console.check, asked=console_asked), range(12)) >= 240


@pytest.fixture(scope="module")
def acks_read(kafka: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[acks.Read]:
    with acks.reading(kafka, tmp_path_factory.mktemp("acks")) as found:
        yield found


@pytest.fixture(scope="module")
def health_port() -> Iterator[int]:
    with health.listening() as port:
        yield port


@pytest.fixture(scope="module")
def console_asked(
    kafka: EmbeddedKafka, clickhouse: EmbeddedClickHouse, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[console.Asked]:
    with console.asking(kafka, clickhouse, tmp_path_factory.mktemp("console")) as found:
        yield found


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


@pytest.mark.slow
def test_nor_by_who_answers_over_a_network(
    clickhouse: EmbeddedClickHouse, acks_read: acks.Read, health_port: int, console_asked: console.Asked
) -> None:
    each("front", partial(front.check, port=clickhouse.port), range(10_000, 10_500))
    each("acks", partial(acks.check, read=acks_read), range(10_000, 10_150))
    each("health", partial(health.check, port=health_port), range(10_000, 12_000))
    each("console", partial(console.check, asked=console_asked), range(10_000, 11_000))
