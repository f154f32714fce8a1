"""A rollout as people do it: ramped to everybody, completed, watched on, and taken away by a person in the end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stoploss import leases
from stoploss.console.asking import OFFERS
from stoploss.console.parts import Console
from stoploss.flags import FlagReader
from tests.cli.conftest import Program
from tests.console.conftest import signed_in, words_of
from tests.installation import Installation, appending, registry_of, values
from tests.timelines import SPEC

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

NAME, NEXT = "rolled-out", "next-on-its-flag"


def written(folder: Path, name: str) -> Path:
    text = SPEC.replace("name: checkout", f"name: {name}").replace("flag: checkout", f"flag: {NAME}")
    text = text.replace("control: current}", "control: current, controllers: [flagd]}")
    file = folder / f"{name}.yaml"
    file.write_text(text.replace("{stages: [0.5]}", "{stages: [0.5, 1], watch: 7d}"))
    return file


def status(live: Program) -> dict[str, Any]:
    return next(one for one in json.loads(live("status", "--json").out) if one["experiment"] == NAME)


def offered(installation: Installation) -> tuple[str, set[str], str]:
    """What the console says of it, the requests that it offers, and what would follow from a stop."""
    ada = signed_in(Console.of(installation.settings))
    page = ada.get(f"/experiments/{NAME}").text
    actions = {action for action in OFFERS if f"/ask/{action}" in page}
    return words_of(page), actions, words_of(ada.get(f"/experiments/{NAME}/ask/stop").text)


def reviewed(live: Program, installation: Installation, decision: str) -> str:
    """The review, once the recorder has stored the decision."""

    def says() -> str:
        shown = live("review", NAME).out
        return shown if f"- **Decision:** {decision}" in shown else ""

    installation.wait(says)
    return says()


def is_leased(installation: Installation) -> bool:
    """Behind the decision: services go on to hear that somebody watches."""
    entry, last = registry_of(installation.settings, NAME), values(installation.settings, "leases")[-1]
    lease = leases.decode(last)
    assert entry is not None
    return lease.watermark > entry.offset and NAME in [run.experiment for run in lease.experiments]


def served(installation: Installation, flags: FlagReader) -> None:
    """A request of somebody who gets the treatment, whatever the flag says by now."""
    found, at = flags.assign(NAME, "current", "user-1"), time.time_ns() // 1_000
    assigned = {"experiment": NAME, "variant": "small", "run": 1, "epoch": found.epoch}
    trace = {"trace_id": f"t-{at}", "at": at, "unit_id": "user-1", "latency_ms": 1.0, "assignments": [assigned]}
    appender = appending(installation.settings)
    appender.append(installation.settings.topics("traces"), json.dumps(trace).encode())
    appender.flush()


@pytest.fixture
def flags(installation: Installation) -> Iterator[FlagReader]:
    installation.wait(installation.flag_file.exists)
    with closing(FlagReader(installation.flag_file)) as found:
        yield found


def test_what_is_rolled_out_stays_served_and_watched_until_a_person_stops_it(
    live: Program, installation: Installation, tmp_path: Path
) -> None:
    """R1, D8, X3: no request takes the treatment from its users but the last one."""
    for arguments in (("register", written(tmp_path, NAME)), ("start", NAME), ("ramp", NAME)):
        assert live(*arguments).code == 0
    installation.wait(lambda: "is watched for 7 d" in (status(live)["ramp"] or ""))
    refused = live("complete", NAME, "--decision", "iterate", "-m", "another prompt")
    assert "`stoploss rollback rolled-out` or `stoploss stop rolled-out` takes it away" in refused.err

    ended = live("complete", NAME, "--decision", "rollout", "-m", "as good, and cheaper")
    assert ended.out.splitlines() == [
        "rolled-out is completed",
        "its treatment stays served at 100 % of the traffic, and watched; `stoploss stop rolled-out` takes it away",
    ]
    with closing(FlagReader(installation.flag_file)) as flags:
        assert flags.assign(NAME, "current", "user-1").variant == "small"
        installation.wait(lambda: is_leased(installation))
        told = status(live)
        assert (told["lifecycle"], told["exposure"], "is watched for 7 d" in told["ramp"]) == ("adopted", 1.0, True)
        assert told["due"][0].startswith("the post-implementation review is due on ")
        assert "adopted, run 1, exposure 100 %" in reviewed(live, installation, "rollout")
        page, actions, follows = offered(installation)
        assert actions == {"stop", "rollback", "pause"}
        assert "adopted" in page
        assert "It was rolled out: this takes it from users who were to keep it." in follows

        assert live("register", written(tmp_path, NEXT)).code == 0
        assert "the flag 'rolled-out' serves the treatment of rolled-out" in live("start", NEXT).err

        assert live("stop", NAME, "-m", "users complain").code == 0
        installation.wait(lambda: flags.assign(NAME, "current", "user-1").variant == "current")
        served(installation, flags)
        installation.wait(lambda: status(live)["after_stop"] == 1)
        assert status(live)["lifecycle"] == "stopped"
        assert "stopped" in reviewed(live, installation, "stop")
        assert offered(installation)[1] == {"resume"}
