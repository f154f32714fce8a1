"""Each recipe against its vendor's published request: address, method, headers, and the schema of the body.

The schemas are transcribed from the documents that the recipes name; what those do not list is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from stoploss.commands import Action, Command, Segment
from stoploss.control.adapter.actuator import HttpAdapter, NotTaken
from stoploss.control.adapter.parsing import parse_adapter, recipes
from stoploss.errors import CommandRefused

from .orders import order, rollback
from .vendor import Asked, Said, Vendor, serving

TEXT, FLAGGED, NUMBER = {"type": "string"}, {"type": "boolean"}, {"type": "number"}
TOKEN = "s3cr3t-token"


def an_object(required: tuple[str, ...], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
        "additionalProperties": False,
    }


def a_list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


GROWTHBOOK_RULE = an_object(
    ("type", "value", "coverage", "hashAttribute"),
    id=TEXT,
    description=TEXT,
    condition=TEXT,
    enabled=FLAGGED,
    type={"enum": ["rollout"]},
    value=TEXT,
    coverage={"type": "number", "minimum": 0, "maximum": 1},
    hashAttribute=TEXT,
)
GROWTHBOOK_ENVIRONMENT = an_object(("enabled", "rules"), enabled=FLAGGED, rules=a_list(GROWTHBOOK_RULE))
GROWTHBOOK = an_object(
    (),
    description=TEXT,
    archived=FLAGGED,
    project=TEXT,
    owner=TEXT,
    defaultValue=TEXT,
    environments={"type": "object", "additionalProperties": GROWTHBOOK_ENVIRONMENT},
)
UNLEASH_VARIANT = an_object(
    ("name", "weight", "weightType", "stickiness"),
    name=TEXT,
    weight={"type": "integer", "minimum": 0, "maximum": 1000},
    weightType={"enum": ["variable", "fix"]},
    stickiness=TEXT,
)
UNLEASH = an_object(
    (),
    name=TEXT,
    sortOrder=NUMBER,
    constraints=a_list({"type": "object"}),
    segments=a_list(NUMBER),
    title=TEXT,
    disabled=FLAGGED,
    parameters={"type": "object", "additionalProperties": TEXT},
    variants=a_list(UNLEASH_VARIANT),
)
LAUNCHDARKLY_ROLLOUT = an_object(
    ("kind", "rolloutWeights"),
    kind={"enum": ["updateFallthroughVariationOrRollout"]},
    rolloutContextKind=TEXT,
    rolloutBucketBy=TEXT,
    rolloutWeights={
        "type": "object",
        "propertyNames": {"pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"},
        "additionalProperties": {"type": "integer", "minimum": 0, "maximum": 100_000},
    },
)
LAUNCHDARKLY = an_object(
    ("instructions", "environmentKey"),
    comment=TEXT,
    environmentKey=TEXT,
    instructions=a_list({"oneOf": [an_object(("kind",), kind={"enum": ["turnFlagOn"]}), LAUNCHDARKLY_ROLLOUT]}),
)
ARGO = an_object(
    ("status",),
    status={
        "oneOf": [
            an_object(("abort",), abort={"const": True}),
            an_object(("promoteFull",), promoteFull={"const": True}),
        ]
    },
)


@dataclass(frozen=True, slots=True)
class Published:
    """What a vendor's documents say of one request."""

    method: str
    path: str
    authorization: str
    content_type: str
    schema: dict[str, Any]

    def judge(self, asked: Asked) -> Said:
        if asked.headers["authorization"] != self.authorization:
            return Said(401, text="no such token")
        if asked.method == "GET":
            return Said(200) if not asked.content else Said(400, text="a body")
        if (asked.method, asked.headers["content-type"]) != (self.method, self.content_type):
            return Said(415, text="method or content type")
        if not re.fullmatch(self.path, asked.path):
            return Said(404, text=asked.path)
        try:
            jsonschema.validate(asked.body, self.schema)
        except jsonschema.ValidationError as error:
            return Said(400, text=error.message)
        return Said(200, text="{}")


PUBLISHED = {
    "growthbook": Published("POST", "/api/v1/features/[^/]+", f"Bearer {TOKEN}", "application/json", GROWTHBOOK),
    "unleash": Published(
        "PUT",
        "/api/admin/projects/[^/]+/features/[^/]+/environments/[^/]+/strategies/[^/]+",
        TOKEN,
        "application/json",
        UNLEASH,
    ),
    "launchdarkly": Published(
        "PATCH",
        "/api/v2/flags/[^/]+/[^/]+",
        TOKEN,
        "application/json; domain-model=launchdarkly.semanticpatch",
        LAUNCHDARKLY,
    ),
    "argo-rollouts": Published(
        "PATCH",
        "/apis/argoproj.io/v1alpha1/namespaces/[^/]+/rollouts/[^/]+/status",
        f"Bearer {TOKEN}",
        "application/merge-patch+json",
        ARGO,
    ),
}
ADDRESS = re.compile(
    r"https://(api\.growthbook\.io|unleash\.example\.com|app\.launchdarkly\.com|kubernetes\.default\.svc)"
)
EVERYBODY = order(release_variant="small", exposure=0.0)


@dataclass(frozen=True, slots=True)
class Told:
    """A vendor, and the adapter of its recipe, pointed at it."""

    vendor: Vendor
    adapter: HttpAdapter

    def of(self, command: Command) -> Any:
        """The body that the vendor has taken for a command; None: it had none."""
        self.adapter.apply(command)
        return self.vendor.asked[-1].body if self.vendor.asked[-1].content else None


@pytest.fixture
def told(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """The recipe as it ships, but for address, certificates and the place of the token."""
    name = request.param
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    for variable in ("GROWTHBOOK_SECRET_KEY", "UNLEASH_ADMIN_TOKEN", "LAUNCHDARKLY_ACCESS_TOKEN"):
        monkeypatch.setenv(variable, TOKEN)
    with serving(Vendor(PUBLISHED[name].judge)) as vendor:
        text = ADDRESS.sub(vendor.url, recipes()[name].read_text())
        text = re.sub(r"^caFile:.*\n", "", text, flags=re.MULTILINE)
        text = text.replace("/var/run/secrets/kubernetes.io/serviceaccount/token", str(tmp_path / "token"))
        yield Told(vendor, HttpAdapter(parse_adapter(text, name), tmp_path / "sent.json"))


def of(name: str) -> Callable[[Any], Any]:
    return pytest.mark.parametrize("told", [name], indirect=True)


every = pytest.mark.parametrize("told", sorted(PUBLISHED), indirect=True)


def test_every_recipe_that_ships_is_checked_here_or_is_our_own() -> None:
    assert recipes().keys() - PUBLISHED.keys() == {"webhook"}


@every
@pytest.mark.parametrize(
    "command",
    [
        order(exposure=0.1),
        order(exposure=1.0),
        EVERYBODY,
        rollback(),
        order(Action.STOP),
        order(Action.PAUSE),
        order(Action.THROTTLE, exposure=0.01, expires_at=None),
        order(Action.STOP_SEGMENT, exposure=0.1, stopped_segments=(Segment("tenant", "acme"),), expires_at=None),
    ],
    ids=["raise", "all", "released", "rollback", "stop", "pause", "throttle", "segment"],
)
def test_what_goes_out_is_what_the_vendor_publishes(told: Told, command: Command) -> None:
    told.of(command)
    assert [asked.headers.get("idempotency-key") for asked in told.vendor.asked if asked.method != "GET"] in (
        [],
        [f"{command.command_id}-1"],
    )


@every
def test_a_vendor_that_refuses_has_not_applied(told: Told) -> None:
    told.vendor.answers = [Said(403, text=f"{TOKEN} may not")]
    with pytest.raises(NotTaken, match=r"answered 403: <(key|token)> may not"):
        told.adapter.apply(rollback())


@every
def test_a_name_that_would_lead_elsewhere_stays_a_name(told: Told) -> None:
    with pytest.raises(CommandRefused):
        told.adapter.apply(rollback(flag=".."))
    assert told.vendor.asked == []


@of("growthbook")
def test_growthbook_gets_the_share_and_units_are_hashed_with_the_same_id(told: Told) -> None:
    def rule(command: Command) -> Any:
        (found,) = told.of(command)["environments"]["production"]["rules"]
        return found["value"], found["coverage"], found["id"]

    assert rule(order(exposure=0.29)) == ("small", 0.29, "stoploss-checkout")
    assert rule(EVERYBODY) == ("small", 1, "stoploss-checkout")
    assert rule(rollback()) == ("small", 0, "stoploss-checkout")


@of("unleash")
def test_unleash_gets_fixed_weights_below_a_thousand_and_one_that_takes_the_rest(told: Told) -> None:
    def weights(command: Command) -> Any:
        return [(one["name"], one["weight"], one["weightType"]) for one in told.of(command)["variants"]]

    assert weights(order(exposure=0.1)) == [("small", 100, "fix"), ("current", 900, "variable")]
    assert weights(order(exposure=0.0005)) == [("small", 0, "fix"), ("current", 1000, "variable")]
    assert weights(EVERYBODY) == [("small", 1000, "variable")]
    assert weights(rollback()) == [("current", 1000, "variable")]


@of("launchdarkly")
def test_launchdarkly_gets_weights_by_the_ids_of_variations(told: Told) -> None:
    small, current = "e5830889-1ec5-4b0c-9cc9-c48790090c43", "2f43f67c-3e4e-4945-a18a-26559378ca00"
    on, rollout = told.of(order(exposure=0.05))["instructions"]
    assert on == {"kind": "turnFlagOn"}
    assert rollout["rolloutWeights"] == {small: 5_000, current: 95_000}
    assert told.of(rollback())["instructions"][1]["rolloutWeights"] == {small: 0, current: 100_000}


@of("launchdarkly")
def test_a_flag_that_no_table_knows_is_not_applied_and_says_which_table(told: Told) -> None:
    with pytest.raises(CommandRefused, match=r"nothing for flag 'search'; known: checkout-model; add it to the table"):
        told.adapter.apply(rollback(flag="search"))


@of("argo-rollouts")
def test_argo_aborts_when_nobody_and_promotes_when_everybody_gets_the_treatment(told: Told) -> None:
    assert told.of(rollback(sequence=1)) == {"status": {"abort": True}}
    assert told.of(order(exposure=0.1, sequence=2)) is None
    assert told.vendor.asked[-1].method == "GET"
    throttle = order(Action.THROTTLE, exposure=0.01, expires_at=None, sequence=3)
    assert told.of(throttle) == {"status": {"abort": True}}
    assert told.of(order(exposure=1.0, sequence=4)) == {"status": {"promoteFull": True}}


@of("argo-rollouts")
def test_argo_is_not_told_to_abort_again_when_a_controller_starts_anew(told: Told, tmp_path: Path) -> None:
    told.adapter.apply(rollback())
    again = HttpAdapter(told.adapter._adapter, tmp_path / "sent.json")
    again.apply(rollback())
    assert len(told.vendor.asked) == 1
    again.apply(rollback(sequence=5))
    assert len(told.vendor.asked) == 2


@pytest.mark.parametrize("told", ["growthbook", "unleash", "launchdarkly", "argo-rollouts"], indirect=True)
def test_a_stopped_segment_ends_the_treatment_for_everybody_where_the_vendor_cannot_be_told_whom(told: Told) -> None:
    stopped = order(Action.STOP_SEGMENT, exposure=0.1, stopped_segments=(Segment("tenant", "acme"),), expires_at=None)
    assert told.of(stopped) == told.of(order(Action.STOP, reason=stopped.reason, sequence=2))
