"""The spec of an experiment: what is compared, what must hold, and what is done when it does not.

Parsed once, at the edge (spec/file.py); everything inside works with these frozen models. Field names are
snake_case here and camelCase in YAML.
"""

from __future__ import annotations

import hashlib
import json
from datetime import date
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from stoploss import metrics
from stoploss.spec.accountability import Baseline, Owners, Purpose, Risk
from stoploss.spec.base import Name, Part, Seconds, Share
from stoploss.spec.budgets import Budget
from stoploss.spec.guardrails import Guardrail
from stoploss.spec.health import DeclaredServing, DriftWatch, Health
from stoploss.spec.objective import Objective, StatedEvidence, Success
from stoploss.spec.traffic import Traffic
from stoploss.spec.variants import Assignment, Limits, StepPath, Variant

ALWAYS_ON_GATES = ("pii_exposed", "privilege_escalation", "unapproved_side_effect")
DECLARABLE_GATES = (
    "undeclared_tool",
    "undeclared_mcp_server",
    "shadow_side_effect",
    "undeclared_side_effect",
    "guardrail_bypassed",
)
# Gates that a part of the spec switches on: they watch what it declares, and nothing where it declares nothing.
SWITCHED_ON_GATES = {
    "undeclared_handoff": "path.handoffs",
    "missing_approval": "path.approvals",
    "broken_order": "path.order",
    "missing_consent": "userImpact: material",
    "runaway": "limits",
}
CROSS = "×"
SEGMENT_COLUMNS = ("tenant", "language", "channel", "operation")
PATH = "path"
"""The dimension of a trace's steps: see intake/paths.py."""
SERVED_INSTEAD = "served instead"
"""The dimension of what a trace was served by that its variant does not declare: see intake/serving.py."""
BESIDE = "experiment:"
"""Begins a dimension whose values are the variants of another experiment that a trace is in: `experiment:checkout`."""
OTHER = "other"
LATER_FIELDS = (
    ("spec", "factors"),
    ("spec", "risks"),
    ("spec", "baselines"),
    ("spec", "owners"),
    ("spec", "purpose"),
    ("spec", "rollback", "plan"),
    ("spec", "objective", "strategy"),
    ("spec", "ramp", "until"),
    ("spec", "ramp", "extend"),
    ("spec", "ramp", "then"),
    ("spec", "ramp", "watch"),
    ("spec", "safeShare"),
    ("spec", "freezes"),
    ("spec", "success", "reviewAfter"),
    ("metadata", "exclusive"),
    ("spec", "traffic"),
    ("spec", "overlaps"),
)


class Metadata(Part):
    """exclusive: groups of experiments of which one may run at a time."""

    name: Name
    owner: str = Field(min_length=1)
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    exclusive: tuple[Name, ...] = ()


class GateChoice(Part):
    gate: str
    action: Literal["stop", "rollback"] = "stop"


class Stage(Part):
    """A share of the traffic that the treatment gets; written as the share alone where nothing else is said of it.

    share  of the traffic
    min_duration, min_units  of this stage, in place of the ramp's
    """

    share: Share
    min_duration: Seconds | None = None
    min_units: int | None = Field(None, ge=0)

    @model_serializer(mode="wrap")
    def as_written(self, whole: SerializerFunctionWrapHandler) -> float | dict[str, Any]:
        """A number where it is nothing but a share: so specs without minimums of a stage keep their hash."""
        given = {name: value for name, value in whole(self).items() if value is not None}
        return self.share if list(given) == ["share"] else given


def _stage(value: Any) -> Any:
    return value if isinstance(value, dict | Stage) else {"share": value}


StageChoice = Annotated[Stage, BeforeValidator(_stage, json_schema_input_type=Share | Stage)]


class StageMinimum(NamedTuple):
    """What a stage has to have before it is passed.

    duration_s, units  how long it is watched, and how many units meet the treatment in it
    extension_s        how much longer it may take to get what it lacks
    """

    duration_s: int
    units: int
    extension_s: int


class Ramp(Part):
    """Shares of the traffic that the treatment gets, one after the other.

    min_duration, min_units  how long a stage is watched, and how many units meet the treatment in it, at least: of each
                             stage that has no minimum of its own
    auto_advance             goes on by itself, inside the windows; else a person ramps
    until    what every guardrail has to be before it does: judged (the default), or safe, shown within its margin
    extend   how much longer a stage may take to get what it lacks; without it, as long as its minDuration again
    then     what happens if it lacks it still: hold (the default), or revert to the stage before
    watch    how long the treatment is watched at full exposure before that is said to be over
    """

    stages: tuple[StageChoice, ...] = Field(min_length=1)
    min_duration: Seconds = 3_600
    min_units: int = Field(1_000, ge=0)
    auto_advance: bool = False
    until: Literal["judged", "safe"] | None = None
    extend: Seconds | None = None
    then: Literal["hold", "revert"] | None = None
    watch: Seconds | None = None

    @property
    def shares(self) -> tuple[float, ...]:
        return tuple(stage.share for stage in self.stages)

    def at(self, exposure: float) -> StageMinimum:
        """What the stage of an exposure has to have: the highest that is not above it, or the first."""
        stage = next((one for one in reversed(self.stages) if one.share <= exposure), self.stages[0])
        duration = self.min_duration if stage.min_duration is None else stage.min_duration
        units = self.min_units if stage.min_units is None else stage.min_units
        return StageMinimum(duration, units, duration if self.extend is None else self.extend)

    @model_validator(mode="after")
    def stages_rise(self) -> Ramp:
        if list(self.shares) != sorted(set(self.shares)) or self.shares[0] <= 0:
            raise ValueError(f"stages {list(self.shares)} must be above 0 and rise")
        return self

    @model_validator(mode="after")
    def goes_on_by_itself(self) -> Ramp:
        given = [name for name in ("until", "extend", "then") if getattr(self, name) is not None]
        if given and not self.auto_advance:
            raise ValueError(f"{given[0]!r} belongs to 'autoAdvance: true'; add that, or drop it")
        return self


class Window(Part):
    """Hours of weekdays in which exposure may be raised; from 00:00 to 00:00 is the whole day."""

    days: str
    from_: str = Field(alias="from")
    to: str
    timezone: str = "UTC"


class Freeze(Part):
    """Days on which nothing is raised, the first and the last of them included."""

    from_: date = Field(alias="from")
    to: date
    timezone: str = "UTC"
    reason: str = Field(min_length=1, max_length=200)


class Approvals(Part):
    required: int = Field(0, ge=0)
    from_: tuple[str, ...] = Field((), alias="from")


class Rollback(Part):
    """plan: what is done beside the flag when the treatment is taken back, or that nothing has to be."""

    to: Name
    plan: str | None = None


PiiName = Literal["email", "card", "iban", "ssn", "phone", "api_key"]


class Privacy(Part):
    """
    pii  raises or lowers a class of personal data outside what the variants declare: gate (the first one stops),
         signal (counts in pii_suspected_rate) or off; unnamed classes gate where they have a validator, and else signal
    """

    pii: dict[PiiName, Literal["gate", "signal", "off"]] = Field(default_factory=dict)
    minimum_cell: int = Field(20, ge=1)
    retention: Seconds = 90 * 86_400
    mask_text: bool = True


def _gate_choice(value: Any) -> Any:
    return {"gate": value} if isinstance(value, str) else value


GateName = Annotated[GateChoice, BeforeValidator(_gate_choice, json_schema_input_type=str | GateChoice)]


Unit = Literal["prompt", "model", "workflow"]


class Spec(Part):
    """
    factors     the units of change, where the variants differ in more than one on purpose
    safe_share  what the treatment keeps while the windows are closed; without it, all: windows stop raises alone
    traffic     whom it may reach; None: everybody that the flag reaches
    overlaps    experiments that may run on the same traffic at the same time
    """

    hypothesis: str = Field(min_length=1)
    unit: Unit
    factors: tuple[Unit, ...] = ()
    success: Success
    assignment: Assignment
    variants: tuple[Variant, ...]
    segments: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    objective: Objective | None = None
    evidence: StatedEvidence = StatedEvidence()
    guardrails: tuple[Guardrail, ...] = ()
    gates: tuple[GateName, ...] = ()
    path: StepPath = StepPath()
    limits: Limits = Limits()
    user_impact: Literal["none", "material"] = "none"
    drift: tuple[DriftWatch, ...] = ()
    budgets: tuple[Budget, ...] = ()
    health: Health = Health()
    ramp: Ramp = Ramp(stages=(Stage(share=0.05),))
    windows: tuple[Window, ...] = ()
    safe_share: Share | None = None
    freezes: tuple[Freeze, ...] = ()
    approvals: Approvals = Approvals()
    rollback: Rollback
    privacy: Privacy = Privacy()
    risks: tuple[Risk, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    owners: Owners | None = None
    purpose: Purpose | None = None
    traffic: Traffic | None = None
    overlaps: tuple[Name, ...] = ()


class Experiment(Part):
    """One experiment: a control and a treatment variant, and the rules between them."""

    api_version: Literal["stoploss/v1alpha1"]
    kind: Literal["Experiment"]
    metadata: Metadata
    spec: Spec

    @property
    def name(self) -> str:
        return self.metadata.name

    @cached_property
    def control(self) -> Variant:
        return next(v for v in self.spec.variants if v.name == self.spec.assignment.control)

    @cached_property
    def treatment(self) -> Variant:
        return next(v for v in self.spec.variants if v.name != self.spec.assignment.control)

    @property
    def needs_consent(self) -> bool:
        """Whether the treatment is only for users who agreed to take part."""
        return self.spec.user_impact == "material"

    @property
    def arms(self) -> tuple[Variant, Variant]:
        """Control, treatment: their index is the variant code of evidence rows."""
        return (self.control, self.treatment)

    @cached_property
    def declared_scores(self) -> tuple[str, ...]:
        """Names of scores and business results that this experiment reads, besides the built-in metrics."""
        spec = self.spec
        named = [*spec.scores, spec.success.metric]
        named += spec.objective.columns if spec.objective else ()
        named += spec.health.scores
        return tuple(dict.fromkeys(name for name in named if name not in metrics.METRICS))

    @cached_property
    def dimensions(self) -> tuple[str, ...]:
        """Every dimension whose values are kept: the segments, and those whose mix is watched."""
        mixes = [watch.mix for watch in self.spec.drift if watch.mix is not None]
        hidden = [SERVED_INSTEAD] if self.serving is not None else []
        return tuple(dict.fromkeys((*self.spec.segments, *mixes, *hidden)))

    @cached_property
    def serving(self) -> DeclaredServing | None:
        """How often a trace may be served otherwise than declared; None where nothing is declared and nothing asked."""
        declares = any(variant.serving for variant in self.spec.variants)
        return self.spec.health.declared or (DeclaredServing() if declares else None)

    def metric(self, name: str) -> metrics.Metric:
        return metrics.METRICS[name] if name in metrics.METRICS else metrics.score(name)

    @cached_property
    def gates(self) -> tuple[GateChoice, ...]:
        """Always-on gates first, then those that the spec switches on, then the declared ones; their index is the bit
        of evidence rows."""
        chosen = {choice.gate: choice for choice in self.spec.gates}
        names = dict.fromkeys((*ALWAYS_ON_GATES, *self.switched_on_gates, *chosen))
        return tuple(chosen.get(name, GateChoice(gate=name)) for name in names)

    @cached_property
    def switched_on_gates(self) -> tuple[str, ...]:
        spec = self.spec
        switched = {
            "undeclared_handoff": spec.path.handoffs is not None,
            "missing_approval": bool(spec.path.approvals),
            "broken_order": bool(spec.path.order),
            "missing_consent": self.needs_consent,
            "runaway": bool(spec.limits.caps),
            "undeclared_side_effect": any(variant.side_effects for variant in spec.variants),
        }
        return tuple(name for name, on in switched.items() if on)

    @cached_property
    def spec_hash(self) -> str:
        """sha256 over the canonical JSON of the parsed spec, hex: equal for equal meaning.

        Fields that came after the first specs count where they are given only, so older specs keep their hash.
        """
        tree = self.model_dump(mode="json", by_alias=True)
        for path in LATER_FIELDS:
            _leave_out_if_empty(tree, path)
        canonical = json.dumps(tree, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()


def _leave_out_if_empty(tree: dict[str, Any], path: tuple[str, ...]) -> None:
    *parents, last = path
    for name in parents:
        tree = tree.get(name) or {}
    if last in tree and tree[last] in (None, "", []):
        del tree[last]


def others_in(dimension: str) -> list[str]:
    """The experiments whose variants a dimension, or a part of a cross, tells apart.

    >>> others_in("tenant×experiment:checkout"), others_in("tenant")
    (['checkout'], [])
    """
    parts = [part.strip() for part in dimension.split(CROSS)]
    return [part.removeprefix(BESIDE) for part in parts if part.startswith(BESIDE)]
