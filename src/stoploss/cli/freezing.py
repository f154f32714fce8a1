"""freeze, unfreeze: the whole line is stopped, and the command returns once nothing runs any more."""

from __future__ import annotations

import time

from stoploss.cli import addresses, asking
from stoploss.cli.output import print_json
from stoploss.cli.progress import working
from stoploss.errors import RequestRefused
from stoploss.lifecycle import FREEZE, LIVE, UNFREEZE
from stoploss.settings import Settings
from streams.policy import read_freeze
from streams.registry_view import RegistryView

PATIENCE_S = 60.0
POLL_S = 0.1


def freeze(reason: str, as_json: bool) -> None:
    """Raises RequestRefused where something still runs after a minute: a stop that was not obeyed is an error."""
    settings = addresses.connected()
    with working("stopping the line"):
        handled = asking.send(settings, asking.request_of(FREEZE, "", reason))
        left = _left_running(settings)
    if left:
        raise RequestRefused(
            f"the line is stopped, and {', '.join(left)} still ran {PATIENCE_S:.0f} s later; is every judge running? "
            "`stoploss doctor` looks, and `stoploss break-glass` needs no judge"
        )
    if as_json:
        print_json({"action": FREEZE, "request_id": handled.request_id, "reason": reason})
        return
    print("the line is stopped: nothing runs, and nothing is started, resumed or ramped until `stoploss unfreeze`")


def unfreeze(reason: str, as_json: bool) -> None:
    settings = addresses.connected()
    if read_freeze(settings) is None:
        raise RequestRefused("the line is not stopped; nothing is to be lifted")
    handled = asking.answered(settings, asking.request_of(UNFREEZE, "", reason))
    if as_json:
        print_json({"action": UNFREEZE, "request_id": handled.request_id, "reason": reason})
        return
    print("the stop of the line is lifted; nothing runs by itself: `stoploss resume EXPERIMENT` begins a new run")


def _left_running(settings: Settings) -> list[str]:
    """Experiments that still run when patience is over; empty as soon as none does."""
    view = RegistryView(settings.need_kafka(), settings.topics("registry")).start()
    deadline_s = time.monotonic() + PATIENCE_S
    try:
        while True:
            left = sorted(entry.experiment for entry in view.entries() if entry.lifecycle in LIVE)
            if not left or time.monotonic() > deadline_s:
                return left
            time.sleep(POLL_S)
    finally:
        view.stop()
