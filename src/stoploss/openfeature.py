"""An OpenFeature provider without flag file or server: what commands desire, as long as the monitor gives its lease.

    from openfeature import api
    from stoploss.openfeature import StoplossProvider

    api.set_provider(StoplossProvider("127.0.0.1:9092", public_keys=[Path("monitor.pub")]))
    details = api.get_client().get_string_details("checkout-model", "current", EvaluationContext(user))

Units fall into the same arms as with flagd and its file: the rule is the same, and so is the code that evaluates it.
A command that raises exposure expires for controllers; here the lease vouches for its run at every evaluation, which is
more. Where the experiment needs consent, whoever's context does not say `stoploss_consent: true` gets the control
variant. It is no controller: it acks nothing, so a spec that lists controllers needs one beside it. An experiment whose
last command is older than the retention of the control topic is unknown to a service that starts then, and it serves
the caller's default.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from confluent_kafka import OFFSET_BEGINNING, Message

from stoploss.commands import Command
from stoploss.control.decide import Obey, decide
from stoploss.control.flagd import flag_for
from stoploss.control.messages import Headers, read_command
from stoploss.control.position import Position, position_after
from stoploss.control.targeting import Json
from stoploss.emit.assignment import CONSENT, NO_RUN, truth
from stoploss.emit.clock import Clock
from stoploss.emit.follow import Follower, consumer_settings
from stoploss.emit.lease import LATCH_AFTER_S, LEASE_S, LeaseReader, Standing
from stoploss.errors import CommandRefused, ConfigurationError
from stoploss.signing import Verifier

try:
    from openfeature.contrib.tools.flagd.core import FlagdCore
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
    from openfeature.provider import AbstractProvider, Metadata
except ModuleNotFoundError as error:
    raise ConfigurationError(
        f"the OpenFeature SDK is missing ({error.name}); install it: pip install 'stoploss[openfeature]'"
    ) from error

log = logging.getLogger("stoploss.openfeature")

READY_WITHIN_S = 10.0

Stamp = Mapping[str, bool | int | float | str]


@dataclass(frozen=True, slots=True)
class Desired:
    """Flags, and the command behind each: replaced whole, so that nobody sees one without the other."""

    core: FlagdCore
    commands: Mapping[str, Command]


class DesiredFlags:
    """What the newest command of each experiment desires; no Kafka in here. One thread takes, any may ask."""

    def __init__(self, verifier: Verifier, topic: str) -> None:
        self._verifier, self._topic = verifier, topic
        self._positions: dict[str, Position] = {}
        self._flags: dict[str, Json] = {}
        self.now = Desired(FlagdCore(), {})

    def take(self, value: bytes | None, headers: Headers) -> None:
        """Follows a command as a controller would; one that is refused changes nothing."""
        try:
            command = read_command(value, headers, self._topic, self._verifier)
            position = self._positions.get(command.experiment)
            # Never too late: the lease says at each evaluation whether the run is watched.
            in_order = isinstance(decide(position, command, command.decided_at, in_force=True), Obey)
            if in_order and not command.dry_run:
                self._follow(command, position)
        except CommandRefused as refusal:
            log.warning("a command is refused: %s", refusal)

    def _follow(self, command: Command, position: Position | None) -> None:
        flag = flag_for(command, self._flags.get(command.flag, {}))
        self._positions[command.experiment] = position_after(command, position)
        self._flags[command.flag] = flag
        core = FlagdCore()
        core.set_flags({"flags": dict(self._flags)})
        self.now = Desired(core, {**self.now.commands, command.flag: command})


class StoplossProvider(AbstractProvider):
    """Evaluates string flags whose values are the names of variants; make it after fork(), one per process.

    bootstrap        Kafka's addresses; None: `consumer_config` names them
    public_keys      the monitor's
    break_glass      the public key of people who may stop past the monitor
    lease_s, latch_after_s  see emit.lease
    """

    def __init__(
        self,
        bootstrap: str | None = None,
        *,
        public_keys: Sequence[Path],
        break_glass: Path | None = None,
        prefix: str = "stoploss.",
        lease_s: float = LEASE_S,
        latch_after_s: float = LATCH_AFTER_S,
        consumer_config: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__()
        topic, config = f"{prefix}control", consumer_config or {}
        self.flags = DesiredFlags(Verifier.load(*public_keys, break_glass=break_glass), topic)
        self.leases = LeaseReader(
            bootstrap,
            public_keys=public_keys,
            topic=f"{prefix}leases",
            lease_s=lease_s,
            latch_after_s=latch_after_s,
            consumer_config=config,
            clock=clock,
        )
        settings = consumer_settings(bootstrap, {"auto.offset.reset": "earliest", **config})
        self._follower = Follower(settings, topic, self._take, start=OFFSET_BEGINNING)
        self._follower.begin()

    @property
    def caught_up(self) -> threading.Event:
        """Set once every command that stood there at the start is known."""
        return self._follower.caught_up

    def _take(self, message: Message) -> bool:
        self.flags.take(message.value(), cast("Headers", message.headers() or ()))
        return True

    def get_metadata(self) -> Metadata:
        return Metadata(name="stoploss")

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Waits a while for the commands; without them every flag is unknown, and the caller's default is served."""
        if not self.caught_up.wait(READY_WITHIN_S):
            log.warning("commands are not all read after %.0f s; until they are, defaults are served", READY_WITHIN_S)

    def shutdown(self) -> None:
        self._follower.close()
        self.leases.close()

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """The control variant where nobody watches, or the user did not agree; else what the command desires."""
        now = self.flags.now
        command = now.commands.get(flag_key)
        if command is None:
            return now.core.resolve_string_value(flag_key, default_value, evaluation_context)
        consent = truth(evaluation_context.attributes, CONSENT) if evaluation_context else None
        agreed: Stamp = {} if consent is None else {CONSENT: consent}
        if command.asks_for_consent and consent is not True:
            return _in_control(command, Reason.TARGETING_MATCH, agreed)
        if command.exposure > 0:
            standing = self.leases.standing(command.experiment, command.run)
            if standing is not Standing.HELD:
                return _in_control(command, Reason.STALE, {"lease": standing.value, **agreed})
        details = now.core.resolve_string_value(flag_key, default_value, evaluation_context)
        return replace(details, flag_metadata={**details.flag_metadata, **agreed})

    # Variants are names: a flag of another type gets its default, with OpenFeature's own error of a wrong type.

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        return self.flags.now.core.resolve_boolean_value(flag_key, default_value, evaluation_context)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        return self.flags.now.core.resolve_integer_value(flag_key, default_value, evaluation_context)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        return self.flags.now.core.resolve_float_value(flag_key, default_value, evaluation_context)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        return self.flags.now.core.resolve_object_value(flag_key, default_value, evaluation_context)


def _in_control(command: Command, reason: Reason, why: Stamp) -> FlagResolutionDetails[str]:
    """Stamped with no run, so that what is served now is compared with nothing."""
    stamp: Stamp = {"experiment": command.experiment, "run": NO_RUN, "epoch": NO_RUN, **why}
    variant = command.control_variant
    return FlagResolutionDetails(variant, variant=variant, reason=reason, flag_metadata=stamp)
