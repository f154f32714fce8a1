"""controller, adapter: the side that obeys, and what it would ask of a vendor."""

from __future__ import annotations

import json
import signal
import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stoploss.cli import addresses
from stoploss.cli.running import SIGNALS, say
from stoploss.commands import Action, Command, Segment
from stoploss.errors import ConfigurationError

if TYPE_CHECKING:
    from stoploss.control.adapter.spec import Adapter
    from stoploss.control.dry_run import Describing
    from stoploss.control.pulse import Pulse
    from stoploss.settings import Settings

SAMPLE_AT = 1_700_000_000_000_000
FLAGD, ONE = "flagd", "one"


def controller(
    file: Path | None, adapter: str | None, name: str | None, instance: str, dry_run: bool, serve: str | None
) -> None:
    """Brings about what commands desire, and acks; until a signal."""
    from stoploss import logs
    from stoploss.cli.stack import end_with_parent
    from stoploss.control.adapter.parsing import read_adapter
    from stoploss.control.controller import Controller
    from stoploss.control.dry_run import DryRun
    from stoploss.control.kafka_loop import ControlTopics, run_controller
    from stoploss.control.position import PositionFile
    from stoploss.signing import Verifier

    end_with_parent()
    if (file is None) == (adapter is None):
        raise ConfigurationError("a controller keeps a flag file or asks a vendor: give one of --file and --adapter")
    settings = addresses.resolved()
    logs.to_stderr(settings.log_level)
    given = None if adapter is None else read_adapter(adapter)
    called = name or (FLAGD if given is None else given.name)
    actuator, positions = _acting(file, given, _memory(settings, f"{called}-{instance}"))
    obeying = Controller(
        name=called,
        instance=instance,
        actuator=DryRun(actuator, say) if dry_run else actuator,
        verifier=Verifier.load(settings.keys / "monitor.pub", break_glass=settings.keys / "break-glass.pub"),
        positions=PositionFile(positions, writes=not dry_run),
        listed_only=given is not None,
    )
    names = settings.topics
    acks = None if dry_run else names("acks")
    where = ControlTopics(settings.need_kafka(), names("control"), acks, names("registry"))
    with _served(file, serve):
        run_controller(obeying, where, _until_signal(), beat=_probed(settings).beat)


def _probed(settings: Settings) -> Pulse:
    """What the loop tells that it comes round; an orchestrator may ask it where the settings name a port."""
    from stoploss import probes
    from stoploss.control.pulse import Pulse

    pulse = Pulse()
    if settings.health_port is not None:
        probes.serve(pulse.blocked, pulse.not_ready, settings.health_host, settings.health_port)
    return pulse


def _served(file: Path | None, serve: str | None) -> AbstractContextManager[object]:
    from stoploss.control.flag_server import serving_flags

    if serve is None:
        return nullcontext()
    if file is None:
        raise ConfigurationError("--serve serves the flag file: it goes with --file")
    host, colon, port = serve.rpartition(":")
    if not (host and colon and port.isdecimal()):
        raise ConfigurationError(f"--serve {serve!r} is no address; write HOST:PORT, such as 127.0.0.1:8015")
    return serving_flags(file, host.strip("[]"), int(port))


def _acting(file: Path | None, adapter: Adapter | None, memory: Path) -> tuple[Describing, Path]:
    """The actuator, and the file of its positions: beside a flag file, or in the home."""
    from stoploss.control.adapter.actuator import HttpAdapter
    from stoploss.control.flagd import FlagdFile

    if file is not None:
        return FlagdFile(file), file.with_name(f"{file.name}.position.json")
    assert adapter is not None
    memory.parent.mkdir(parents=True, exist_ok=True)
    return HttpAdapter(adapter, memory.with_suffix(".sent.json")), memory.with_suffix(".position.json")


def _memory(settings: Settings, name: str) -> Path:
    return settings.home / "controllers" / f"{name}.json"


def _until_signal() -> threading.Event:
    stopping = threading.Event()
    for name in SIGNALS:
        signal.signal(name, lambda *_: stopping.set())
    return stopping


def adapters(as_json: bool) -> None:
    from stoploss.control.adapter.parsing import recipes

    found = {name: _about(path.read_text(encoding="utf-8")) for name, path in recipes().items()}
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for name, about in found.items():
        print(f"{name:<15} {about}")


def _about(text: str) -> str:
    """What a recipe's first line of comment says."""
    return text.partition("\n")[0].removeprefix("# ")


def show(recipe: str) -> None:
    from stoploss.control.adapter.parsing import find_adapter

    print(find_adapter(recipe)[0], end="")


@dataclass(frozen=True, slots=True)
class Sample:
    """What is tried: a command as the monitor would send it.

    exposure  None: 5 %, or nobody where the action takes the treatment away
    segments  DIMENSION=VALUE
    """

    action: Action
    exposure: float | None
    experiment: str
    flag: str
    control: str
    treatment: str
    released: bool
    segments: tuple[str, ...]

    def command(self) -> Command:
        takes_away = self.released or self.action in (Action.STOP, Action.ROLLBACK, Action.PAUSE)
        exposure = self.exposure if self.exposure is not None else 0.0 if takes_away else 0.05
        return Command(
            command_id="sample",
            experiment=self.experiment,
            run=1,
            epoch=1,
            sequence=1,
            action=self.action,
            flag=self.flag,
            release_variant=self.treatment if self.released else self.control,
            control_variant=self.control,
            treatment_variant=self.treatment,
            exposure=exposure,
            stopped_segments=tuple(_segment(text) for text in self.segments),
            reason="A sample: nothing is sent.",
            evidence=None,
            decided_at=SAMPLE_AT,
            expires_at=None,
            dry_run=True,
            topic="stoploss.control",
            controllers=(),
        )


def _segment(text: str) -> Segment:
    dimension, equals, value = text.partition("=")
    if not (dimension and equals and value):
        raise ConfigurationError(f"{text!r} is no segment; write DIMENSION=VALUE, such as tenant=acme")
    return Segment(dimension, value)


def try_adapter(recipe: str, sample: Sample) -> None:
    """Prints the requests; needs no secret, no Kafka and no vendor."""
    from stoploss.control.adapter.parsing import read_adapter
    from stoploss.control.adapter.shown import described

    print(described(read_adapter(recipe), sample.command()))
