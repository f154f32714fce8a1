"""The side that obeys: verify a command, decide whether to obey, act, remember, acknowledge, tell people.

class Gateway:
    def apply(self, command: Command) -> None:
        gateway.set_weight(command.flag, command.treatment_variant, command.exposure)

obey(Gateway(), bootstrap="127.0.0.1:9092", name="gateway", public_keys=[Path("monitor.pub")], positions=Path("p.json"))
"""

from __future__ import annotations

from stoploss.control.controller import Actuator, Controller
from stoploss.control.obey import obey

__all__ = ["Actuator", "Controller", "obey"]
