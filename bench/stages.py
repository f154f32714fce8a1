"""Where the time from a harmful trace to its command went: what the broker's stamps of the records on the way say."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from confluent_kafka import Message

from stoploss import ledger
from stoploss.commands import Action
from stoploss.control.messages import read_command
from stoploss.ledger import EvidenceBlock
from stoploss.settings import Settings
from stoploss.signing import Verifier
from streams.reading import whole

STAGES = ("to Kafka ms", "to the ledger ms", "to control ms", "to the hands ms")


@dataclass(frozen=True, slots=True)
class Trial:
    """Of one harmful trace: Unix milliseconds of the produce call, of the broker's stamp, of the command's arrival."""

    produced_ms: float
    stored_ms: float
    obeyed_ms: float

    @property
    def took_ms(self) -> float:
        return self.obeyed_ms - self.produced_ms


def stages(settings: Settings, experiment: str, trials: Sequence[Trial]) -> list[float]:
    """The median of each of STAGES, milliseconds.

    The trials came one after the other, so what stands between one's beginning and its end is its own.
    """
    bootstrap, names = settings.need_kafka(), settings.topics
    since_ms = int(trials[0].produced_ms) - 1
    blocks = _stamps(whole(bootstrap, names("ledger"), since_ms=since_ms), experiment, _is_evidence)
    verifier = Verifier.load(settings.keys / "monitor.pub")

    def is_stop(message: Message) -> bool:
        command = read_command(message.value() or b"", message.headers(), names("control"), verifier)
        return command.action == Action.STOP

    stops = _stamps(whole(bootstrap, names("control"), since_ms=since_ms), experiment, is_stop)
    found = []
    for trial in trials:
        block, stop = (next(at for at in stamps if at >= int(trial.produced_ms)) for stamps in (blocks, stops))
        found.append(
            (trial.stored_ms - trial.produced_ms, block - trial.stored_ms, stop - block, trial.obeyed_ms - stop)
        )
    return [statistics.median(stage) for stage in zip(*found, strict=True)]


def _stamps(messages: Iterable[Message], experiment: str, counts: Callable[[Message], bool]) -> list[int]:
    """Unix milliseconds of the records of an experiment that count, in order."""
    mine = (message for message in messages if message.key() == experiment.encode())
    return sorted(message.timestamp()[1] for message in mine if counts(message))


def _is_evidence(message: Message) -> bool:
    return isinstance(ledger.decode(message.value()), EvidenceBlock)
