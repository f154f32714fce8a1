"""The whole monitor is killed: services give everybody control, by themselves, and nothing old revives a variant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from openfeature.evaluation_context import EvaluationContext

from stoploss.emit import Assignment
from stoploss.emit.lease import Standing
from stoploss.openfeature import StoplossProvider
from tests.installation import Installation, Kafka, installed
from tests.timelines import SPEC

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

LEASE_S = 6.0
CANARY_EVERY_MS = 250
ROLES = ("registrar", "intake", "judge")
USERS = [f"user-{number}" for number in range(100)]
NAME = "checkout"


@contextmanager
def provider(installation: Installation, latch_after_s: float) -> Iterator[StoplossProvider]:
    """A service that has just started."""
    settings = installation.settings
    made = StoplossProvider(
        settings.need_kafka(),
        public_keys=[settings.keys / "monitor.pub"],
        prefix=settings.topic_prefix,
        lease_s=LEASE_S,
        latch_after_s=latch_after_s,
    )
    try:
        made.initialize(EvaluationContext())
        yield made
    finally:
        made.shutdown()


def treated(service: StoplossProvider) -> int:
    answers = [service.resolve_string_details(NAME, "", EvaluationContext(user)) for user in USERS]
    return sum(details.value == "small" for details in answers)


def standing(service: StoplossProvider) -> Standing:
    return service.leases.standing(NAME)


def test_a_dead_monitor_leaves_nobody_in_the_treatment_and_a_long_lapse_waits_for_a_person(
    kafka: Kafka, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        installation = stack.enter_context(installed(kafka, tmp_path, canary_every_ms=CANARY_EVERY_MS))
        monitor = installation.worker(*ROLES)
        installation.ask("register", NAME, spec=SPEC)
        installation.ask("start", NAME, exposure=0.5)
        patient = stack.enter_context(provider(installation, latch_after_s=300.0))
        strict = stack.enter_context(provider(installation, latch_after_s=1.0))
        installation.wait(lambda: treated(patient) > 20 and treated(strict) > 20)

        monitor.kill()
        installation.wait(lambda: standing(patient) is Standing.LAPSED and standing(strict) is Standing.LATCHED)
        assert treated(patient) == treated(strict) == 0
        late = stack.enter_context(provider(installation, latch_after_s=300.0))
        assert late.caught_up.is_set()
        assert (standing(late), treated(late)) == (Standing.UNKNOWN, 0)
        given = late.leases.or_control(Assignment(NAME, "small", run=1, epoch=1), "current")
        assert given == Assignment(NAME, "current", run=0, epoch=0)

        installation.worker(*ROLES)
        installation.wait(lambda: treated(patient) > 20 and treated(late) > 20)
        assert (standing(strict), treated(strict)) == (Standing.LATCHED, 0)
        installation.ask("pause", NAME)
        installation.ask("resume", NAME, exposure=0.5)
        installation.wait(lambda: treated(strict) > 20)
        assert standing(strict) is Standing.HELD
