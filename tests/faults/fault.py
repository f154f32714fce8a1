"""The common interface of the scripts: what a fault is called, what is done, what must hold."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stoploss.embedded.clickhouse import EmbeddedClickHouse
from stoploss.embedded.ports import free_port
from tests.faults import scripts
from tests.faults.broker import Broker
from tests.faults.measured import Measured
from tests.faults.proxy import Proxy
from tests.faults.stage import Stage, staged


@dataclass(slots=True)
class Ground:
    """What the scripts stand on: one broker for all of them, an installation for each.

    kills    of the fault that kills at random
    minutes  that a fault stands at most, and so much less than is demanded of it; None: as long as that
    """

    home: Path
    broker: Broker
    kills: int = 200
    minutes: float | None = None
    seed: int = 11
    _stages: int = 0
    _stack: ExitStack = field(default_factory=ExitStack)
    _clickhouse: EmbeddedClickHouse | None = None

    @property
    def clickhouse(self) -> EmbeddedClickHouse:
        """Started when it is first needed, on a port that stays."""
        if self._clickhouse is None:
            server = EmbeddedClickHouse(self.home / "clickhouse", free_port())
            self._clickhouse = self._stack.enter_context(server)
        return self._clickhouse

    def durations_s(self, *demanded: float) -> list[float]:
        """How long a fault stands, each time: with `minutes` the longest is cut, and the others as long as they fit."""
        if self.minutes is None:
            return list(demanded)
        return sorted({min(one, 60 * self.minutes) for one in demanded})

    def stage(self, **more: Any) -> AbstractContextManager[Stage]:
        self._stages += 1
        home = self.home / f"stage-{self._stages}"
        home.mkdir()
        return staged(self.broker, home, **more)

    @contextmanager
    def wire(self) -> Iterator[Proxy]:
        """Between the recorder and ClickHouse."""
        proxy = Proxy(self.clickhouse.port)
        try:
            yield proxy
        finally:
            proxy.close()


@contextmanager
def ground(home: Path, **more: Any) -> Iterator[Ground]:
    with Broker(home / "kafka") as broker:
        made = Ground(home, broker, **more)
        with made._stack:
            yield made


@dataclass(frozen=True, slots=True)
class Fault:
    """One of the thirty-two.

    name   on the command line
    done   what is done
    holds  what must hold, beside: nothing lost, nothing twice, the journal is the fold, the states are right,
           controllers obeyed, one command a decision
    kills  processes are killed and nothing else is done, so that recovery is stoploss's own and has to be quick
    """

    number: int
    name: str
    done: str
    holds: str
    run: Callable[[Ground], Measured]
    kills: bool = False


def all_faults() -> list[Fault]:
    """One of each module of `scripts`, in the order of their numbers."""
    names = [module.name for module in pkgutil.iter_modules(scripts.__path__)]
    modules = [importlib.import_module(f"{scripts.__name__}.{name}") for name in names]
    return sorted((module.FAULT for module in modules), key=lambda fault: fault.number)
