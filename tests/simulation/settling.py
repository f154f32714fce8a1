"""What is still under way: a run is over when nothing is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.roles import QUICK, TOPICS, workers
from tests.simulation.told import name_of

if TYPE_CHECKING:
    from tests.simulation.world import World

READS = {
    "registrar": ("experiments",),
    "intake": ("traces",),
    "joiner": ("outcomes", "outcomes_resolved"),
    "resolver": tuple(stage.topic for stage in QUICK),
    "judge": ("ledger",),
    "courier": ("control", "acks"),
}


def unsettled(world: World) -> str | None:
    """What is still under way; None: nothing."""
    world.people.act()
    if world.people.waiting:
        return f"requests without an answer: {world.people.waiting}"
    for role in workers(world.scenario):
        for topic in READS[role]:
            if not _all_committed(world, role, TOPICS(topic)):
                return f"{role} has not committed all of {topic}"
    return next((why for name in world.witness.told if (why := _unsettled(world, name))), None)


def _all_committed(world: World, role: str, topic: str) -> bool:
    """Behind what it has committed nothing is left to be read."""
    committed = world.broker.group(f"stoploss-sim-{role}").committed
    logs = world.broker.topics[topic].logs
    return all(not log.has_more(committed.get((topic, log.partition), 0), committed=True) for log in logs)


def _unsettled(world: World, name: str) -> str | None:
    told, state = world.witness.told[name], dict(world.witness.experiments()).get(name)
    if state is None:
        return None
    if told.published < len(told.folded):
        return f"{len(told.folded) - told.published} journal entries of {name} are not published"
    for controller, flags in world.flags.items():
        standing = flags.standing.get(name)
        if state.desired.command_id != (standing.command_id if standing else None):
            return f"{controller} stands at {standing and name_of(standing)}, {name} wants {state.desired}"
    return f"{name} waits for {state.desired.awaiting}" if state.desired.awaiting else None


def expired(world: World) -> list[str]:
    """Experiments whose last raise came too late for a controller."""
    late = []
    for name, state in world.witness.experiments():
        issued = world.witness.told[name].issued
        command = issued[-1].command if issued else None
        over = command is not None and command.expires_at is not None and command.expires_at <= world.now_us
        if over and state.desired.exposure > 0 and _unsettled(world, name):
            late.append(name)
    return late
