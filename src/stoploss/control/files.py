"""Replacing a file whole: a reader sees the old content or the new, never a part, also after a power cut."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MTIME_STEP_NS = 1_000_000
"""Watchers compare modification times, some as floats or milliseconds, and file systems stamp only once a clock tick
(about 4 ms): so a new content is at least this much younger than the one before, or it is never noticed."""

STAMPED_AGAIN_AFTER_S = 1.0


def replace_file(path: Path, content: bytes, *, mode: int) -> None:
    """Writes a temporary file beside `path`, syncs it, and renames it over `path`.

    One writer at a time: callers that share a file hold `locked(path)`.
    mode    permission bits of the new file
    Raises OSError where the directory or disk refuses.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        _write_synced(temporary, content, mode)
        _make_younger(temporary, than=path)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _write_synced(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _make_younger(path: Path, *, than: Path) -> None:
    with suppress(FileNotFoundError):
        earliest_ns = than.stat().st_mtime_ns + MTIME_STEP_NS
        written = path.stat()
        if written.st_mtime_ns < earliest_ns:
            os.utime(path, ns=(written.st_atime_ns, earliest_ns))


def stamp_again(path: Path, after_s: float = STAMPED_AGAIN_AFTER_S) -> None:
    """A moment later the file is younger once more, with the same content.

    flagd's Python provider reads a file when it begins, and asks afterwards how old it is: of one that is replaced
    between the two it would keep the old content until the next change (seen).
    """
    timer = threading.Timer(after_s, _stamp, [path])
    timer.daemon = True
    timer.start()


def _stamp(path: Path) -> None:
    with suppress(OSError):  # it is gone, or is not ours any more; what was applied is applied
        before = path.stat()
        os.utime(path, ns=(before.st_atime_ns, max(time.time_ns(), before.st_mtime_ns + MTIME_STEP_NS)))


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds `.NAME.lock` beside the file: read, change and replace as one step among all who take the lock."""
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
