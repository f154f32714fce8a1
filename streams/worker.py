"""One process, any mix of roles: an app each, in one event loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import faust

from stoploss import logs
from stoploss.control.keys import load_or_create_secret
from stoploss.errors import ConfigurationError
from stoploss.settings import Settings
from stoploss.signing import Signer, Verifier
from streams import health, shared_schemas
from streams.app import App
from streams.collecting import keep_what_is_there, nothing_collected


def _secret(settings: Settings) -> bytes:
    return load_or_create_secret(settings.keys / "secret.key")


# Each role imports what it needs when it is built: a worker pays for its own libraries only.


def _intake(settings: Settings) -> App:
    from streams import intake

    return intake.build(settings, _secret(settings))


def _joiner(settings: Settings) -> App:
    from streams import joiner

    return joiner.build(settings, _secret(settings))


def _registrar(settings: Settings) -> App:
    from streams import registrar

    return registrar.build(settings)


def _judge(settings: Settings) -> App:
    from streams import judge, partition_judge

    signer = Signer.load(settings.keys / "monitor.key")
    return judge.build(settings, partition_judge.Keys(signer, _secret(settings)))


def _courier(settings: Settings) -> App:
    from streams import courier

    keys = settings.keys
    return courier.build(settings, Verifier.load(keys / "monitor.pub", break_glass=keys / "break-glass.pub"))


def _recorder(settings: Settings) -> App:
    from streams import recorder

    return recorder.build(settings)


def _resolver(settings: Settings) -> App:
    from streams import resolver

    return resolver.build(settings)


def _otlp(settings: Settings) -> App:
    from streams import otlp

    return otlp.build(settings)


ROLES: dict[str, Callable[[Settings], App]] = {
    "intake": _intake,
    "joiner": _joiner,
    "resolver": _resolver,
    "registrar": _registrar,
    "judge": _judge,
    "courier": _courier,
    "recorder": _recorder,
    "otlp": _otlp,
}
STORING = frozenset({"recorder"})
YIELDING = 5
"""What only stores gives way to what decides, where they share processors."""

OPTIONAL = ("otlp",)
"""Roles that an installation may do without: there need not be a Collector."""


def run(settings: Settings, roles: Sequence[str]) -> None:
    """Runs the roles until a signal ends the process; does not return."""
    unknown = sorted(set(roles) - set(ROLES))
    if unknown or not roles:
        raise ConfigurationError(f"unknown role {', '.join(unknown) or '(none given)'}; roles: {', '.join(ROLES)}")
    os.environ["RUST_BACKTRACE"] = "0"  # polars tells a malformed block with a backtrace on stderr otherwise
    logs.to_stderr(settings.log_level)
    if set(roles) - STORING:
        shared_schemas.share(settings)
    else:
        os.nice(YIELDING)
        shared_schemas.learn(settings)  # it writes to ClickHouse alone
    with nothing_collected():
        apps = {role: ROLES[role](settings) for role in roles}
    keep_what_is_there()
    if settings.health_port is not None:
        health.serve(apps, settings.health_host, settings.health_port)
    first, *others = apps.values()
    worker = faust.Worker(first, *others, loglevel="WARN", redirect_stdouts=False, quiet=True)
    worker.spinner = None
    worker.execute_from_commandline()
