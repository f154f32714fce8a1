"""A resolver with short waits, for tests: `python -m tests.streams.resolver_app [DIES_AT]`.

Told a point, it kills itself there, once: where a file beside its keys says that it has, it does not do it again.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from stoploss.cli.stack import end_with_parent
from stoploss.settings import load
from streams import worker
from streams.looking_up import Waypoint
from streams.resolver import STAGES, Resolver
from streams.source_transactions import SourceTransactor

WAITS_S = {"outcomes_retry_1m": 0.5, "outcomes_retry_10m": 1.0, "outcomes_retry_1h": 8.0}
QUICK = tuple(replace(stage, wait_s=WAITS_S.get(stage.topic, 0.0)) for stage in STAGES)
POINTS = {
    "looked up": (Waypoint, "look_up"),
    "sent, not committed": (SourceTransactor, "_send_place"),
    "committed": (Waypoint, "publish"),
}


def die_behind(point: str, died: Path) -> None:
    """Nothing of what the process would do behind this point happens, the first time that bare outcomes pass it."""
    kind, name = POINTS[point]
    original = getattr(kind, name)

    def passed(self: object, *arguments: object) -> object:
        result = original(self, *arguments)
        found = result if name == "look_up" else arguments[0] if arguments else self
        if getattr(found, "fates", True) and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(kind, name, passed)


if __name__ == "__main__":
    end_with_parent()
    settings = load()
    if len(sys.argv) > 1:
        die_behind(sys.argv[1], settings.home / f"died {sys.argv[1]}")
    worker.ROLES["resolver"] = lambda settings: Resolver(settings, QUICK).app
    worker.run(settings, ["resolver"])
