"""A controller in one call: for whoever brings an actuator and a broker."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stoploss.control.controller import Actuator, Controller
from stoploss.control.kafka_loop import ControlTopics, run_controller
from stoploss.control.position import PositionFile
from stoploss.signing import Verifier


def obey(
    actuator: Actuator,
    *,
    bootstrap: str,
    name: str,
    public_keys: Sequence[Path],
    positions: Path,
    instance: str = "one",
    break_glass: Path | None = None,
    prefix: str = "stoploss.",
    client: Mapping[str, Any] | None = None,
    stop: threading.Event | None = None,
    caught_up: threading.Event | None = None,
) -> None:
    """Verifies, orders, applies, remembers and acknowledges commands, until `stop` is set; without one, for good.

    bootstrap    Kafka's addresses, "host:port,host:port"
    name         of the controller, as specs list it
    public_keys  the monitor's, several while one is being changed
    positions    file that remembers what was applied; each instance has its own
    break_glass  the public key of people who may stop past the monitor
    client       further settings of librdkafka, such as security.protocol
    caught_up    is set once every experiment is in its latest state

    Raises ConfigurationError where a key, the file or a topic is not to be read, and DeliveryFailed where acks can no
    longer be published: end the process and start it again.
    """
    controller = Controller(
        name=name,
        instance=instance,
        actuator=actuator,
        verifier=Verifier.load(*public_keys, break_glass=break_glass),
        positions=PositionFile(positions),
        listed_only=True,
    )
    topics = ControlTopics(bootstrap, f"{prefix}control", f"{prefix}acks", f"{prefix}registry", client or {})
    run_controller(controller, topics, stop or threading.Event(), caught_up=caught_up)
