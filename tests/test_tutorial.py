"""docs/tutorial.md, step by step in an empty folder: its commands, in its order, on the servers that `up` starts.

Not run here: `make setup`, which made the environment of the tests (tests/test_readme.py runs make in a fresh copy).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stoploss.simulate.harm import TEST_CARD
from tests.test_documents_run import BLOCKS, lines_of

ROOT = Path(__file__).parents[1]
NAME = "checkout-agent-model"
PATIENCE_S = 180.0
STEPS = [line for block in BLOCKS if block.document == "tutorial" for line in lines_of(block)]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Reader:
    """Two terminals in one folder, with the examples of the repository: one for `up`, one for everything else."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "up.txt"
        self.said: dict[str, str] = {}
        self._up: subprocess.Popen[bytes] | None = None
        kept = {name: value for name, value in os.environ.items() if not name.startswith("STOPLOSS_")}
        self._environment = {**kept, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "200"}
        shutil.copytree(ROOT / "examples", folder / "examples")

    def follow(self, step: str) -> None:
        if step == "make setup":
            return
        if step == "stoploss up":
            self._start(step)
        else:
            self.said[step] = self.run(step)

    def run(self, step: str) -> str:
        """As it stands in the document, through a shell."""
        done = subprocess.run(
            step, shell=True, cwd=self.folder, env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{step}\n{done.stdout[-3_000:]}{done.stderr[-3_000:]}"
        return done.stdout

    def _start(self, step: str) -> None:
        with self.log.open("wb") as log:
            self._up = subprocess.Popen(
                step.split(), cwd=self.folder, env=self._environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self.wait(lambda: "end with Ctrl-C" in self.log.read_text())

    def wait(self, until: Callable[[], object]) -> None:
        """While `up` runs."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not until():
            assert self._up is not None
            assert self._up.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline_s, self.log.read_text()
            time.sleep(0.2)

    def lifecycle(self) -> str:
        [entry] = json.loads(self.run("stoploss status --json"))
        return str(entry["lifecycle"])

    def is_obeyed(self) -> bool:
        """The last command, as far as `explain` can know it: from ClickHouse."""
        command = json.loads(self.run(f"stoploss explain {NAME} --json"))["commands"][-1]
        return "applied" in {ack["status"] for ack in command["acks"]}

    def end(self) -> int:
        """Ctrl-C in the first terminal."""
        assert self._up is not None
        self._up.send_signal(signal.SIGINT)
        return self._up.wait(PATIENCE_S)

    def close(self) -> None:
        if self._up is not None and self._up.poll() is None:
            self._up.kill()
            self._up.wait()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Somebody who has followed it to its end."""
    found = Reader(tmp_path_factory.mktemp("tutorial"))
    try:
        for step in STEPS:
            if step == "stoploss status":  # "some seconds later on a busy machine"
                found.wait(lambda: found.lifecycle() != "running")
                found.wait(found.is_obeyed)
            found.follow(step)
        yield found
    finally:
        found.close()


def test_every_step_is_followed_up_to_the_resumed_experiment(reader: Reader) -> None:
    assert STEPS[:2] == ["make setup", "stoploss up"]
    assert list(reader.said) == STEPS[2:]
    assert reader.lifecycle() == "running"


def test_the_leak_was_stopped_and_explain_tells_the_chain(reader: Reader) -> None:
    assert re.search(rf"{NAME}\W+stopped", reader.said["stoploss status"])
    told = reader.said[f"stoploss explain {NAME}"]
    assert "pii_exposed" in told
    assert "card number" in told
    assert re.search(r"flagd.*applied", told)


def test_the_decision_is_made_again_byte_for_byte(reader: Reader) -> None:
    assert "identical byte for byte" in reader.said[f"stoploss replay {NAME}"]


def test_the_cards_number_is_in_no_document(reader: Reader) -> None:
    review = (reader.folder / "review.html").read_text()
    assert "card number" in review
    digits = TEST_CARD.replace(" ", "")
    for text in [review, *reader.said.values()]:
        assert TEST_CARD not in text
        assert digits not in text


def test_ctrl_c_ends_everything_in_order(reader: Reader) -> None:
    assert reader.end() == 0
    assert reader.log.read_text().splitlines()[-1] == "stopped"
