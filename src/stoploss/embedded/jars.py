"""Apache Kafka's jars: fetched once from Maven Central by jgo, pinned by version and SHA-256.

`kafka_jars.txt` lists every jar as `group:artifact:version sha256`, so all machines run the same bytes and an
interrupted download is noticed and repeated. They live in the Maven repository of the user (M2_REPO or
~/.m2/repository); once they are there, no start asks the network. `python -m stoploss.embedded.jars` writes the
list anew from ENDPOINT.
"""

from __future__ import annotations

import fcntl
import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stoploss.errors import EmbeddedUnavailable

# The "!" keeps log4j's own dependency management from replacing Kafka's versions of its dependencies.
ENDPOINT = "org.apache.kafka:kafka_2.13:4.3.0+org.apache.logging.log4j:log4j-slf4j-impl:2.25.4!"
JAR_LIST = Path(__file__).with_name("kafka_jars.txt")
LOCK_FILE = ".stoploss.lock"


@dataclass(frozen=True, slots=True)
class Jar:
    group: str
    artifact: str
    version: str
    sha256: str

    def path(self, repository: Path) -> Path:
        name = f"{self.artifact}-{self.version}.jar"
        return repository.joinpath(*self.group.split("."), self.artifact, self.version, name)

    def is_intact(self, repository: Path) -> bool:
        path = self.path(repository)
        return path.exists() and _sha256(path) == self.sha256


def kafka_class_path() -> str:
    """Kafka's class path, every jar on it checked. Downloads what is missing or damaged.

    Raises EmbeddedUnavailable if a jar cannot be had.
    """
    repository = _repository()
    jars = pinned_jars()
    missing = [jar for jar in jars if not jar.is_intact(repository)]
    if missing:
        _fetch(missing, repository)
    return ":".join(str(jar.path(repository)) for jar in jars)


def pinned_jars() -> list[Jar]:
    lines = JAR_LIST.read_text(encoding="ascii").splitlines()
    return [_parse(line) for line in lines if line and not line.startswith("#")]


def _parse(line: str) -> Jar:
    coordinate, sha256 = line.split()
    group, artifact, version = coordinate.split(":")
    return Jar(group, artifact, version, sha256)


def _fetch(jars: list[Jar], repository: Path) -> None:
    with _one_at_a_time(repository):
        for jar in jars:
            if not jar.is_intact(repository):  # another process may have fetched it meanwhile
                _download(jar, repository)


def _download(jar: Jar, repository: Path) -> None:
    from jgo.maven import MavenContext  # the extra `embedded`; a second to import, needed once

    path = jar.path(repository)
    path.unlink(missing_ok=True)
    context = MavenContext(repo_cache=repository)
    try:
        context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
    except (OSError, RuntimeError) as error:  # requests' errors are OSErrors
        path.unlink(missing_ok=True)
        raise EmbeddedUnavailable(
            f"embedded Kafka needs {path.name} from Maven Central, which cannot be reached now ({_short(error)}): "
            f"connect to the network once, or copy a filled Maven repository to {repository}, "
            "or give the address of a Kafka that you run"
        ) from error
    if not jar.is_intact(repository):
        path.unlink(missing_ok=True)
        raise EmbeddedUnavailable(
            f"embedded Kafka got a {path.name} that is not the one it is pinned to (SHA-256 {jar.sha256[:12]}…); "
            "try again, and if it stays so, check what stands between this machine and Maven Central"
        )


@contextmanager
def _one_at_a_time(repository: Path) -> Iterator[None]:
    """jgo writes a jar in place: two processes must not fetch the same one."""
    repository.mkdir(parents=True, exist_ok=True)
    with (repository / LOCK_FILE).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _repository() -> Path:
    from jgo.config import GlobalSettings

    return Path(GlobalSettings.load().repo_cache)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 160 else text[:157] + "…"


def write_pins() -> None:
    """Resolve ENDPOINT with all it depends on and write JAR_LIST."""
    import jgo

    lines = sorted(
        f"{artifact.groupId}:{artifact.artifactId}:{artifact.version} {_sha256(artifact.resolve())}"
        for artifact in jgo.resolve(ENDPOINT)
    )
    header = f"# {ENDPOINT}\n# Written by: python -m stoploss.embedded.jars\n"
    JAR_LIST.write_text(header + "\n".join(lines) + "\n", encoding="ascii")


if __name__ == "__main__":
    write_pins()
    sys.stdout.write(f"{len(pinned_jars())} jars\n")
