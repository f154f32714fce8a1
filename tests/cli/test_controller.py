"""stoploss controller as a process: it serves the flag file and answers probes, with a broker or without, and ends in
order."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.error import HTTPError, URLError

from stoploss.control.keys import create_keys
from stoploss.embedded.ports import free_port
from tests.cli.conftest import Program

PATIENCE_S = 120.0


def answered(url: str, process: subprocess.Popen[bytes]) -> bytes:
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_S) as response:
                content: bytes = response.read()
                return content
        except HTTPError as refused:
            return refused.read()
        except URLError:
            assert process.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.05)


def test_the_flags_are_served_without_a_broker_and_a_signal_is_its_ordinary_end(tmp_path: Path) -> None:
    create_keys(tmp_path / "keys")
    (tmp_path / "flags.json").write_text('{"flags": {}}')
    port, health = free_port(), free_port()
    where = ["--file", str(tmp_path / "flags.json"), "--serve", f"127.0.0.1:{port}"]
    settings = {"STOPLOSS_HOME": str(tmp_path), "STOPLOSS_KAFKA": "127.0.0.1:1", "STOPLOSS_HEALTH_PORT": str(health)}
    command = [sys.executable, "-m", "stoploss", "controller", *where]
    with subprocess.Popen(command, env={**os.environ, **settings}, stderr=subprocess.DEVNULL) as process:
        try:
            assert answered(f"http://127.0.0.1:{port}/flags.json", process) == b'{"flags": {}}'
            assert answered(f"http://127.0.0.1:{health}/livez", process) == b"ok\n"
            assert b"not caught up" in answered(f"http://127.0.0.1:{health}/readyz", process)
            assert b"process_cpu_seconds" in answered(f"http://127.0.0.1:{health}/metrics", process)
            process.terminate()
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()


def test_what_is_served_is_the_flag_file_at_an_address(stoploss: Program, tmp_path: Path) -> None:
    create_keys(tmp_path / "home" / "keys")
    stoploss.set(kafka="127.0.0.1:1", webhook_secret="whsec_AAAA")
    assert stoploss("controller", "--file", "f.json", "--serve", "8015").sentence.endswith("such as 127.0.0.1:8015")
    refused = stoploss("controller", "--adapter", "webhook", "--serve", "127.0.0.1:0")
    assert refused.sentence == "stoploss: --serve serves the flag file: it goes with --file"
