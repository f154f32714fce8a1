"""deadletter list, show and retry, on the real Kafka and a running intake."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from stoploss.cli import dead_letters as command
from stoploss.intake import dead_letters
from stoploss.intake.dead_letters import Reject
from stoploss.ledger import Source
from tests.cli.conftest import Program
from tests.installation import Installation, appending, messages, values

pytestmark = pytest.mark.kafka


def refused(installation: Installation, value: bytes, code: str, *, topic: str = "traces") -> str:
    """Writes a dead letter as intake does; its id."""
    settings = installation.settings
    source = Source(settings.topics(topic), "uuid", 1)
    reject = Reject(41, code, f"{code}: the way out", value, time.time_ns() // 1_000_000)
    letter = dead_letters.dead_letter(reject, source)
    encoded = dead_letters.encode(letter)
    appender = appending(settings)
    appender.append(settings.topics("deadletter"), encoded, partition=0)
    appender.flush()
    return f"0-{messages(settings, 'deadletter', 0)[-1].offset()}"


UNKNOWN = {"experiment": "nobody-registered-me", "variant": "x"}


def bad(name: str, variant: str = "small") -> bytes:
    assigned = [{"experiment": "checkout", "variant": variant}]
    return json.dumps({"trace_id": name, "at": "yesterday", "assignments": assigned}).encode()


def listed(live: Program, *arguments: str) -> list[dict[str, Any]]:
    ended = live("deadletter", "list", "--json", *arguments)
    assert (ended.code, ended.err) == (0, "")
    return list(json.loads(ended.out))


def test_what_a_worker_refused_is_listed_with_reason_place_and_variant(
    live: Program, installation: Installation
) -> None:
    settings = installation.settings
    appender = appending(settings)
    appender.append(settings.topics("traces"), bad("from-a-service"), partition=1)
    appender.flush()
    installation.wait(lambda: any("from-a-service" in str(value) for value in values(settings, "deadletter")))
    found = [line for line in listed(live) if "'yesterday'" in line["reason"]]
    assert [(line["stage"], line["code"], line["variants"]) for line in found] == [
        ("intake", "malformed_json", ["checkout/small"])
    ]
    assert (found[0]["topic"], found[0]["partition"], found[0]["is_cut"]) == (settings.topics("traces"), 1, False)


def test_one_id_for_two_requests_is_refused_and_an_unknown_experiment_is_told_in_the_log(
    live: Program, installation: Installation
) -> None:
    """What intake's core finds, the running worker tells."""
    settings = installation.settings
    appender = appending(settings)
    for latency_ms in (100, 900):
        trace = {"trace_id": "twin", "at": time.time_ns() // 1_000, "latency_ms": latency_ms}
        value = json.dumps({**trace, "assignments": [UNKNOWN]}).encode()
        appender.append(settings.topics("traces"), value, partition=0)
    appender.flush()
    installation.wait(lambda: listed(live, "--reason", "trace_id_reused"))
    (reused,) = listed(live, "--reason", "trace_id_reused")
    assert reused["variants"] == ["nobody-registered-me/x"]
    installation.wait(lambda: "nobody-registered-me" in installation.roles[0].said)


def test_the_list_is_newest_first_and_filtered_by_code_text_and_time(live: Program, installation: Installation) -> None:
    ids = [refused(installation, bad(name), f"code_{name}") for name in ("older", "newer")]
    assert [line["id"] for line in listed(live, "--reason", "code_", "--limit", "2")] == ids[::-1]
    assert [line["id"] for line in listed(live, "--reason", "code_older")] == ids[:1]
    assert [line["id"] for line in listed(live, "--reason", "CODE_NEWER: the WAY")] == ids[1:]
    assert listed(live, "--reason", "code_", "--since", "0s") == []
    table = live("deadletter", "list", "--reason", "code_older").out
    assert ids[0] in table
    assert live("deadletter", "list", "--reason", "no such code").out == "no such dead letter\n"


def test_show_gives_the_bytes_as_hex_and_text_with_a_warning(live: Program, installation: Installation) -> None:
    value = b'{"trace_id": "\x1b[2J", ' + b"x" * 5_000
    letter = refused(installation, value, "shown")
    ended = live("deadletter", "show", letter)
    assert ended.out.splitlines()[0] == f"dead letter {letter}: shown: shown: the way out"
    assert command.WARNING in ended.out
    assert '00000000  7b 22 74 72 61 63 65 5f 69 64 22 3a 20 22 1b 5b  {"trace_id": ".[' in ended.out
    assert "\x1b" not in ended.out
    assert "more bytes: --whole" in ended.out
    assert len(live("deadletter", "show", letter, "--whole").out.splitlines()) > 300
    told = json.loads(live("deadletter", "show", letter, "--json").out)
    assert (base64.b64decode(told["value"]), told["warning"]) == (value, command.WARNING)


@pytest.mark.parametrize("letter", ["0-999999", "77-0", "nonsense", "-1", "0-1; DROP"])
def test_an_id_that_is_none_is_one_sentence(live: Program, letter: str) -> None:
    ended = live("deadletter", "show", "--", letter)
    assert ended.code == 1
    assert "dead letter" in ended.sentence


def sent_again(installation: Installation, value: bytes) -> list[tuple[int | None, dict[str, bytes]]]:
    """Partition and headers of each record of the topic of traces with this value."""
    found = [message for message in messages(installation.settings, "traces") if message.value() == value]
    return [(message.partition(), dict(message.headers() or [])) for message in found]


def test_retry_sends_the_bytes_to_where_they_came_from_and_says_which_attempt_it_is(
    live: Program, installation: Installation
) -> None:
    value = bad("once-more")
    refused(installation, value, "retried")
    letter = refused(installation, value, "retried")
    ended = live("deadletter", "retry", letter, "--yes")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"1 record sent again to {installation.settings.topics('traces')}; ")
    headers = {"stoploss-retry": b"2", "stoploss-dead-letter": letter.encode()}
    assert sent_again(installation, value) == [(1, headers)]


def test_retry_by_reason_sends_each_record_once(live: Program, installation: Installation) -> None:
    for name in ("a", "b", "a"):
        refused(installation, bad(name), "by_reason")
    assert live("deadletter", "retry", "--reason", "by_reason", "-y").out.startswith("2 records sent again to ")
    assert len(sent_again(installation, bad("a"))) == len(sent_again(installation, bad("b"))) == 1


def test_an_outcome_whose_trace_was_not_found_begins_its_way_anew(live: Program, installation: Installation) -> None:
    settings = installation.settings
    value = json.dumps({"trace_id": "late", "at": 1, "kind": "score", "name": "helpful", "value": 1.0}).encode()
    refused(installation, value, "unresolved", topic="outcomes_resolved")
    ended = live("deadletter", "retry", "--reason", "unresolved", "-y")
    assert ended.out.startswith(f"1 record sent again to {settings.topics('outcomes')}; ")
    assert values(settings, "outcomes").count(value) == 1


def test_nothing_is_sent_without_a_yes(live: Program, installation: Installation) -> None:
    value = bad("not-confirmed")
    letter = refused(installation, value, "asked")
    assert live("deadletter", "retry", letter).code == 1
    assert sent_again(installation, value) == []


def test_what_is_cut_or_is_the_monitors_own_is_not_sent_again(live: Program, installation: Installation) -> None:
    large = refused(installation, bad("x") + b" " * dead_letters.LARGEST_KEPT_BYTES, "cut")
    assert "larger than what is kept" in live("deadletter", "retry", large, "-y").sentence
    own = refused(installation, b"no fact", "malformed", topic="ledger")
    assert "which only its own writer sends again" in live("deadletter", "retry", own, "-y").sentence
    assert b"no fact" not in values(installation.settings, "ledger")


def test_retry_needs_one_of_id_and_reason(live: Program) -> None:
    assert live("deadletter", "retry").code == 2
    assert live("deadletter", "retry", "0-1", "--reason", "x").code == 2
