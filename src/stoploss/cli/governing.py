"""check, approve, clone, list, diff, policy: what people agree on, from files and from the registry."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stoploss.cli import addresses, asking
from stoploss.cli.output import print_json, show, write_file
from stoploss.cli.progress import working
from stoploss.errors import ConfigurationError, InvalidExperiment, RequestRefused
from stoploss.experiment import Experiment
from stoploss.governance import changes
from stoploss.governance.bodies import BODIES, text_of
from stoploss.lifecycle import POLICY, Lifecycle
from stoploss.policy.file import parse_policy
from stoploss.policy.model import RISK, Policy
from stoploss.policy.requirements import at_start, violations
from stoploss.policy.units import factor_faults
from stoploss.registry import RegistryEntry
from stoploss.review.words import moment, share
from stoploss.settings import Settings
from stoploss.spec.base import check_name
from stoploss.spec.file import node_at, parse_experiment, violations_in
from streams.policy import read_policy
from streams.registry_view import RegistryView

WINDOW = re.compile(r"(?P<days>\S+) (?P<begins>[\d:]+)-(?P<ends>[\d:]+) (?P<timezone>\S+)")


# ---- before registration -----------------------------------------------------------------------------


def check(file: Path, policy_file: Path | None) -> None:
    """Raises InvalidExperiment with every violation of form, rules and policy."""
    text = asking.text_of(file)
    experiment = parse_experiment(text, str(file))
    policy = parse_policy(asking.text_of(policy_file), str(policy_file)) if policy_file is not None else None
    if policy is None:
        found, allowed = [*factor_faults(experiment)], "; --policy checks it against the organisation's policy"
    else:
        found = [*violations(policy, experiment), *at_start(policy, experiment)]
        allowed = f", and policy {policy.metadata.name} allows it"
    if found:
        raise InvalidExperiment(str(file), violations_in(text, found))
    print(f"{file}: {experiment.name} is well-formed{allowed}")


def clone(experiment: str, name: str, output: Path | None) -> None:
    """The spec in force as a file, word for word but for its name."""
    try:
        check_name(name)
    except ValueError as error:
        raise RequestRefused(str(error)) from error
    to = output or Path(f"{name}.yaml")
    if to.exists():
        raise ConfigurationError(f"{to} exists already; give another file with --output")
    entry = _entry_of(addresses.connected(), experiment)
    write_file(to, renamed(entry.spec, name))
    show(f"{to}: {experiment} as {name}; change what is to be changed, and `stoploss register {to}`")


def renamed(spec: str, name: str) -> str:
    """A spec under another name, with everything else, comments too, as it stands.

    >>> renamed("metadata: {name: one, owner: x} # ours\\nspec: {}\\n", "two")
    'metadata: {name: two, owner: x} # ours\\nspec: {}\\n'
    """
    found = node_at(spec, ("metadata", "name"))
    return spec[: found.start_mark.index] + name + spec[found.end_mark.index :]


# ---- decisions ---------------------------------------------------------------------------------------


def approve(experiment: str, terms: Mapping[str, Any], reason: str, as_json: bool) -> None:
    """terms: as the body of an approval has them, but for window and segments, which are as people write them."""
    window, without = terms["window"], terms["without"]
    body = {name: value for name, value in terms.items() if name not in ("window", "without") and value}
    if window is not None:
        body["window"] = _window(window)
    if without:
        body["excluded"] = [_segment(text) for text in without]
    ask("approve", experiment, body, reason, as_json)


def _window(text: str) -> dict[str, str]:
    found = WINDOW.fullmatch(text)
    if found is None:
        raise RequestRefused(f"{text!r} is no window; write it as 'Mon-Fri 09:00-17:00 Europe/Berlin'")
    return {"days": found["days"], "from": found["begins"], "to": found["ends"], "timezone": found["timezone"]}


def _segment(text: str) -> dict[str, str]:
    dimension, _, value = text.partition("=")
    if not dimension or not value:
        raise RequestRefused(f"{text!r} is no segment; write it as tenant=acme")
    return {"dimension": dimension, "value": value}


def ask(
    action: str,
    experiment: str,
    body: Mapping[str, Any],
    reason: str,
    as_json: bool,
    **then: Callable[[], object],
) -> None:
    """Sends a request with a body.

    then  what is looked up once it is accepted, by the name that it has in JSON
    """
    asking.ask(action, experiment, reason, as_json, None, carried(action, experiment, body), **then)


def carried(action: str, experiment: str, body: Mapping[str, Any]) -> str:
    """The body of a request as it travels; raises RequestRefused with what is wrong, before anything is sent."""
    try:
        return text_of(BODIES[action].model_validate(body))
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()]
        raise RequestRefused(f"{action} of {experiment!r} cannot be sent: {'; '.join(faults)}") from error


def complete(experiment: str, terms: Mapping[str, Any], reason: str, as_json: bool) -> None:
    """Of what stays served it is said how it is taken away; of harm, what nobody has decided on."""
    from stoploss.cli.cases import tell_undecided, undecided

    if as_json:
        ask("complete", experiment, terms, reason, as_json, undecided_harm=lambda: undecided(experiment))
        return
    ask("complete", experiment, terms, reason, as_json)
    entry = _entry_of(addresses.connected(), experiment)
    if entry.lifecycle == Lifecycle.ADOPTED:
        print(
            f"its treatment stays served at {share(entry.exposure)} of the traffic, and watched; `stoploss stop "
            f"{experiment}` takes it away"
        )
    tell_undecided(undecided(experiment) or ())


# ---- what is registered --------------------------------------------------------------------------------


def _entries(settings: Settings) -> dict[str, RegistryEntry]:
    with working("reading the registry"):
        view = RegistryView(settings.need_kafka(), settings.topics("registry")).start()
        found = {entry.experiment: entry for entry in view.entries()}
        view.stop()
    return found


def _entry_of(settings: Settings, experiment: str) -> RegistryEntry:
    entries = _entries(settings)
    if experiment not in entries:
        known = ", ".join(sorted(entries)) or "none"
        raise RequestRefused(f"experiment {experiment!r} is not registered; registered: {known}")
    return entries[experiment]


def show_list(as_json: bool) -> None:
    rows = [_row(entry) for _, entry in sorted(_entries(addresses.connected()).items())]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        print("  ".join(str(value or "no class") for value in row.values()))
    if not rows:
        print("no experiment is registered yet; register one with `stoploss register FILE.yaml`")


def _row(entry: RegistryEntry) -> dict[str, Any]:
    """A spec that another version accepted must not hide the other experiments."""
    row: dict[str, Any] = {"experiment": entry.experiment, "lifecycle": entry.lifecycle}
    try:
        spec = parse_experiment(entry.spec)
    except InvalidExperiment:
        return {**row, "owner": "unknown", "risk": None, "hypothesis": "its spec is of another version"}
    metadata = spec.metadata
    return {**row, "owner": metadata.owner, "risk": metadata.labels.get(RISK), "hypothesis": spec.spec.hypothesis}


def show_diff(experiment: str, file: Path, as_json: bool) -> None:
    entry = _entry_of(addresses.connected(), experiment)
    after = parse_experiment(asking.text_of(file), str(file))
    found = changes.changed(parse_experiment(entry.spec, f"the registered spec of {experiment!r}"), after)
    voids = bool(found) and changes.voids([field for field, _, _ in found])
    if as_json:
        lines = [{"field": field, "before": before, "after": now} for field, before, now in found]
        print_json({"experiment": experiment, "changes": lines, "voids_approvals": voids})
        return
    for field, before, now in found:
        print(f"{field}: {_shown(before)} -> {_shown(now)}")
    print(_told(found, voids, after))


def _told(found: Sequence[object], voids: bool, after: Experiment) -> str:
    if not found:
        return "nothing differs"
    end = "approvals would be lost" if voids else "approvals would stay"
    return f"{len(found)} field{'s' if len(found) > 1 else ''} of {after.name} would change; {end}"


def _shown(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)


# ---- the policy ----------------------------------------------------------------------------------------


def policy(file: Path | None, reason: str, as_json: bool) -> None:
    if file is None:
        _print_policy(as_json)
        return
    text = asking.text_of(file)
    parsed = parse_policy(text, str(file))
    settings = addresses.connected()
    handled = asking.answered(settings, asking.request_of(POLICY, "", reason, spec=text))
    if as_json:
        print_json({"policy": parsed.metadata.name, "request_id": handled.request_id})
        return
    print(f"policy {parsed.metadata.name} is in force for every request from now on; {_classes(parsed)}")


def _classes(parsed: Policy) -> str:
    return f"classes of risk: {', '.join(parsed.spec.risk_classes)}"


def _print_policy(as_json: bool) -> None:
    found = read_policy(addresses.connected())
    if found is None:
        raise RequestRefused("no policy is in force; put one in force with `stoploss policy POLICY.yaml`")
    if as_json:
        print_json({"by": found.by, "at": moment(found.at), "reason": found.reason, "policy": found.spec})
    else:
        print(found.spec)
