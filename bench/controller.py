"""What a controller takes from a command in its hands to the switched flag: verify, decide, write, remember.

    python -m bench.controller [--commands 200]

Every command lowers or raises the exposure of one of so many experiments, whose flags stand in one file. That file and
the positions are each written anew, synced and moved into place, which is most of it: the yardstick is a file of the
same size that is written so by nobody in particular, in the same run and on the same disk.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.table import Table, heading, spread
from stoploss.commands import Action, Command
from stoploss.control.controller import Controller
from stoploss.control.flagd import FlagdFile
from stoploss.control.messages import CommandMessage, read_command, write_command
from stoploss.control.position import PositionFile
from stoploss.signing import Signer, Verifier

TOPIC, AT = "stoploss.control", 1_760_000_000_000_000
EXPERIMENTS = (1, 20, 200)


def commands(experiments: int, count: int) -> list[Command]:
    """In turn for each experiment, first to 10 % and then up and down between 5 and 10 %."""
    return [_command(number % experiments, number // experiments + 1) for number in range(count)]


def _command(experiment: int, sequence: int) -> Command:
    return Command(
        command_id=f"{experiment:032x}{sequence:032x}",
        experiment=f"checkout-{experiment}",
        run=1,
        epoch=1,
        sequence=sequence,
        action=Action.SET_EXPOSURE,
        flag=f"checkout-model-{experiment}",
        release_variant="current",
        control_variant="current",
        treatment_variant="small",
        exposure=0.10 if sequence % 2 else 0.05,
        stopped_segments=(),
        reason="A person has asked for this exposure, and says why in a sentence of about this length.",
        evidence=None,
        decided_at=AT,
        expires_at=AT + 60_000_000,
        dry_run=False,
        topic=TOPIC,
        controllers=("flagd",),
    )


def signed(signer: Signer, experiments: int, count: int) -> list[CommandMessage]:
    return [write_command(command, signer, "bench") for command in commands(experiments, count)]


def read(verifier: Verifier, message: CommandMessage) -> Command:
    return read_command(message.value, message.headers, message.topic, verifier)


def timed(calls: Sequence[Callable[[], object]]) -> list[float]:
    """Microseconds of each."""
    taken = []
    for call in calls:
        began_ns = time.perf_counter_ns()
        call()
        taken.append((time.perf_counter_ns() - began_ns) / 1e3)
    return taken


def obeyed(home: Path, messages: list[CommandMessage], verifier: Verifier, warm: int) -> tuple[list[float], int]:
    """Microseconds of each command once every experiment has a flag, and the size of the flag file."""
    flags = home / "flags.json"
    controller = Controller(
        name="flagd",
        instance="one",
        actuator=FlagdFile(flags),
        verifier=verifier,
        positions=PositionFile(home / "positions.json"),
        clock=lambda: AT,
    )
    for message in messages[:warm]:
        _applied(controller, message)
    taken = timed([partial(_applied, controller, message) for message in messages[warm:]])
    return taken, flags.stat().st_size


def _applied(controller: Controller, message: CommandMessage) -> None:
    *_, last = controller.handle(message)
    if last.status != "applied":
        raise SystemExit(f"the controller answers {last.status}: {last.reason}")


def written(home: Path, size_bytes: int) -> None:
    """A file of this size, synced and moved into place, and its directory synced."""
    path, content = home / "yardstick.new", b"x" * size_bytes
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(descriptor, content)
    os.fsync(descriptor)
    os.close(descriptor)
    path.rename(home / "yardstick")
    directory = os.open(home, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", type=int, default=200, help="timed of each; default: 200")
    count = parser.parse_args().commands
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    key = Ed25519PrivateKey.generate()
    signer = Signer(key)
    verifier = Verifier({signer.key_id: key.public_key()})
    heading("A controller", f"{count} commands of each, one after the other.", ("cryptography",))
    table = Table(("what", "µs"))
    [first, *_] = messages = signed(signer, 1, count)
    verify = partial(key.public_key().verify, key.sign(first.value), first.value)
    table.add("an Ed25519 signature alone", spread(timed([verify] * count)))
    table.add("verified and read", spread(timed([partial(read, verifier, message) for message in messages])))
    for experiments in EXPERIMENTS:
        with tempfile.TemporaryDirectory() as directory:
            home = Path(directory)
            taken, size_bytes = obeyed(home, signed(signer, experiments, experiments + count), verifier, experiments)
            alone = timed([partial(written, home, size_bytes)] * count)
            table.add(f"obeyed, {experiments} flags in a file of {size_bytes:,} bytes", spread(taken))
            table.add("a file of that size, written alone", spread(alone))
    print(table.markdown())


if __name__ == "__main__":
    main()
