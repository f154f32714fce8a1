"""The spec of an experiment: what is compared, what must hold, and what is done when it does not.

Parsed once, at the edge (spec_file.py); everything inside works with these frozen models. Field names are
snake_case here and camelCase in YAML.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import date
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from stoploss import metrics
from stoploss.detector_names import check_detector

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
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
OTHER = "other"


def parse_duration(value: Any) -> Any:
    """'90s', '2m', '24h' or '30d' as seconds.

    >>> parse_duration("24h")
    86400
    """
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+)([smhd])", value)):
        return int(match[1]) * UNITS[match[2]]
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"{value!r} is no duration; write a whole number and a unit, such as 90s, 2m, 24h or 30d")


def check_name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError(f"{value!r} is no name; use a-z, 0-9 and '-', at most 63 characters")
    return value


Written = Annotated[str, Field(pattern=r"^[0-9]+[smhd]$")] | Annotated[int, Field(gt=0)]
Seconds = Annotated[
    int, Field(gt=0, le=3_650 * 86_400), BeforeValidator(parse_duration, json_schema_input_type=Written)
]
Share = Annotated[float, Field(ge=0, le=1)]
Alpha = Annotated[float, Field(ge=1e-9, le=0.2)]
Name = Annotated[str, AfterValidator(check_name)]
GuardrailAction = Literal["rollback", "pause", "stop"]
GuardrailTransform = Literal["none", "log", "capped", "exceedance"]


class Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, allow_inf_nan=False
    )


class Metadata(Part):
    name: Name
    owner: str = Field(min_length=1)
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Tool(Part):
    name: str
    scopes: tuple[str, ...] = ()
    side_effect: bool = False


class Variant(Part):
    """What one arm is made of; anything it does outside of this is a gate.

    prompt       name and version, such as checkout@v7; prompt_hash: hash of its text
    versions     of data, index, features and whatever else the answers are made with
    data_classes what its outputs may hold: email, card, iban, ssn, phone, api_key, or names for people
    """

    name: Name
    model: str | None = None
    prompt: str | None = None
    prompt_hash: str | None = None
    versions: dict[str, str] = {}
    routing: str | None = None
    tools: tuple[Tool, ...] = ()
    mcp_servers: tuple[str, ...] = ()
    data_classes: tuple[str, ...] = ()

    @property
    def scopes(self) -> frozenset[str]:
        return frozenset(scope for tool in self.tools for scope in tool.scopes)

    @property
    def side_effects(self) -> frozenset[str]:
        """Tools that may change something outside."""
        return frozenset(tool.name for tool in self.tools if tool.side_effect)

    @property
    def serving(self) -> dict[str, str]:
        """What a trace must show where it shows anything, by column of the trace; prompt is name@version, or a name."""
        name, _, version = (self.prompt or "").partition("@")
        declared = {
            "model": self.model,
            "prompt_name": name,
            "prompt_version": version,
            "prompt_hash": self.prompt_hash,
            "routing": self.routing,
        }
        return {column: value for column, value in declared.items() if value}


class Assignment(Part):
    """Who gets which variant, by which flag, and which controllers must apply a command."""

    flag: str
    randomisation_unit: Literal["user", "session", "trace"] = "user"
    control: Name
    controllers: tuple[str, ...] = ()
    service_timeout: Seconds = 60


class Success(Part):
    metric: str
    baseline: float | None = None
    worthwhile: float | None = None
    then: dict[Literal["better", "same", "worse"], str] = {}


class Quality(Part):
    """closes_after: how long after a unit's last exposure its scores are awaited; then, and not before, they count."""

    score: str
    closes_after: Annotated[Seconds, Field(le=30 * 86_400)] | None = None


class RiskEvent(Part):
    event: str
    weight: float = Field(ge=0.001, le=1_000)


class Objective(Part):
    """What a treatment is worth: quality, less its cost and its risk at the prices that are named here.

    lambda_cost   quality given up, as a share of control's, for a cost that rises by all of control's
    lambda_risk   quality given up, as a share of control's, for one weighted harm event more per trace
    indifference  differences of the sum within this, up or down, are not worth a change
    """

    quality: Quality | None = None
    risk: tuple[RiskEvent, ...] = ()
    lambda_cost: float = Field(0.0, ge=0, le=1e6)
    lambda_risk: float = Field(0.0, ge=0, le=1e6)
    indifference: float = Field(0.0, ge=0, le=1e6)
    alpha: Alpha = 0.05

    @model_validator(mode="after")
    def risk_is_defined(self) -> Objective:
        if self.lambda_risk and not self.risk:
            raise ValueError("lambdaRisk weighs events, but no risk events are listed; list them, or drop lambdaRisk")
        return self

    @property
    def risk_columns(self) -> tuple[str, ...]:
        """Columns that tell of the risk events; names that are not known are left to the checks of the spec."""
        return tuple(metrics.RISK_EVENTS[risk.event] for risk in self.risk if risk.event in metrics.RISK_EVENTS)

    @property
    def columns(self) -> tuple[str, ...]:
        """Everything that it weighs, but for the cost, which is always measured."""
        return (*((self.quality.score,) if self.quality else ()), *self.risk_columns)


class OfflineEvaluation(Part):
    """The last run of an evaluation suite on the treatment, before production: stated by its owner."""

    suite: str = Field(min_length=1)
    version: str = Field(min_length=1)
    passed: bool
    at: date


class StatedEvidence(Part):
    """Evidence that the judge cannot see for itself; what is absent is a gap that the recommendation names."""

    offline: OfflineEvaluation | None = None


class Margin(Part):
    absolute: float | None = Field(None, ge=0, le=1e12)
    relative: float | None = Field(None, ge=0, le=1e3)

    @model_validator(mode="after")
    def one_of_two(self) -> Margin:
        if (self.absolute is None) == (self.relative is None):
            raise ValueError("a margin is either absolute or relative; give exactly one of the two")
        return self


class Guardrail(Part):
    """A metric on which the treatment must not be worse than control by more than the margin.

    transform  log; capped: at control's frozen 99th percentile; exceedance: the share of traces beyond a threshold
    quantile   of an exceedance: the share of control's values that lie on the good side of the threshold
    threshold  of an exceedance, in the metric's unit, instead of a quantile
    covariate  a score that traces carry and that was known before they were assigned; it takes noise away (CUPED)
    """

    metric: str
    direction: Literal["lower", "higher"]
    margin: Margin
    transform: GuardrailTransform = "none"
    quantile: float | None = Field(None, ge=0.05, le=0.99)
    threshold: float | None = Field(None, ge=-1e12, le=1e12)
    covariate: str | None = None
    alpha: Alpha = 0.01
    action: GuardrailAction = "rollback"

    @property
    def projected(self) -> metrics.Transform:
        """What intake makes of the metric; the rest is made of it by the judge (rules/reading.py)."""
        return "log" if self.transform == "log" else "none"


class GateChoice(Part):
    gate: str
    action: Literal["stop", "rollback"] = "stop"


class StepPath(Part):
    """What holds for the steps of each request, in both variants; each list switches on a gate of its own.

    order      tools of which none may be called before one that is listed earlier, by the first call of each in a
               request; a tool that is never called is not missed
    approvals  tools that may be called only with an approval: the step's own, or an approval step of the tool's name
               before it
    handoffs   the only [from, to] pairs of agents that may hand over
    """

    order: tuple[str, ...] = ()
    approvals: tuple[str, ...] = ()
    handoffs: tuple[tuple[str, str], ...] | None = None


Cap = Annotated[int, Field(ge=0, le=10**9)]


class Limits(Part):
    """The most that one request may take; one more trips the gate `runaway`. What an agent reads is input_tokens."""

    steps: Cap | None = None
    repeated_calls: Cap | None = None
    retries: Cap | None = None
    input_tokens: Cap | None = None
    samples: Cap | None = None

    @property
    def caps(self) -> dict[str, int]:
        """By metric."""
        return {name: cap for name, cap in self if cap is not None}


class DriftWatch(Part):
    """A metric whose level is watched in each arm, or a segment dimension whose mix of values is."""

    metric: str | None = None
    mix: str | None = None
    detector: Annotated[str, AfterValidator(check_detector)] = "ADWIN"
    params: dict[str, float] = {}
    action: Literal["pause", "none"] = "pause"

    @model_validator(mode="after")
    def one_of_two(self) -> DriftWatch:
        if (self.metric is None) == (self.mix is None):
            raise ValueError("drift is watched in a metric or in the mix of a dimension; give exactly one of the two")
        if self.mix is not None and self.model_fields_set & {"detector", "params"}:
            raise ValueError("detector and params belong to a metric; a mix has a test of its own: drop them")
        return self


class BurnAction(Part):
    burn: float = Field(ge=0.1, le=10_000)
    do: Literal["throttle", "pause", "stop"]
    to: Share | None = None

    @model_validator(mode="after")
    def throttle_names_its_share(self) -> BurnAction:
        if (self.do == "throttle") != (self.to is not None):
            raise ValueError("'to' (a share of traffic) belongs to 'do: throttle', and only there")
        return self


class Slo(Part):
    metric: str
    threshold: float = Field(ge=-1e12, le=1e12)
    target: float = Field(gt=0, lt=1)


class Budget(Part):
    """Money or tokens to spend in a period, or an objective whose bad share is the budget."""

    metric: str | None = None
    limit: float | None = Field(None, gt=0, le=1e12)
    slo: Slo | None = None
    period: Seconds
    actions: tuple[BurnAction, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def one_of_two(self) -> Budget:
        spend = self.metric is not None and self.limit is not None
        if spend == (self.slo is not None) or (self.slo and (self.metric or self.limit)):
            raise ValueError("a budget has either metric and limit, or an slo; give exactly one of the two")
        return self

    @property
    def watched(self) -> str:
        return self.slo.metric if self.slo else str(self.metric)


class Silence(Part):
    after: Seconds
    do: Literal["hold", "pause", "stop"] = "pause"


class Coverage(Part):
    """The share of units that get a score in time, and how long half of the scores may take."""

    score: str
    min: Annotated[float, Field(gt=0, lt=1)]
    within: Seconds = 3_600
    max_lag: Seconds | None = None
    do: Literal["hold", "pause"] = "hold"

    @model_validator(mode="after")
    def lag_lies_within(self) -> Coverage:
        if self.max_lag is not None and self.max_lag >= self.within:
            raise ValueError(
                f"maxLag of {self.max_lag} s is not below within ({self.within} s), so it could never be exceeded; "
                "raise within, or lower maxLag"
            )
        return self


class JudgeReference(Part):
    """A score that carries, for items of a frozen set, the grade given anew minus the first one."""

    score: str
    alpha: Alpha = 0.01
    do: Literal["hold", "pause"] = "hold"


class Audit(Part):
    """A score that carries 1 where a person agrees with the judge on an audited trace, and 0 where not."""

    score: str
    min: Annotated[float, Field(gt=0, lt=1)] = 0.8
    alpha: Alpha = 0.05
    do: Literal["hold", "pause"] = "hold"


class Alignment(Part):
    """A proxy score that must go with a business outcome; baseline: the least correlation over groups of users."""

    proxy: str
    outcome: str
    baseline: Annotated[float, Field(gt=-1, lt=1)] = 0.0
    alpha: Alpha = 0.05
    do: Literal["hold", "none"] = "hold"


class DeclaredServing(Part):
    """The largest share of units that may be served by something else than their variant declares."""

    max: Annotated[float, Field(gt=0, lt=1)] = 0.01
    do: Literal["hold", "pause"] = "hold"


class Unresolved(Part):
    """The largest share of outcomes that may fail to be attached to a trace: bare, malformed or untimely ones."""

    max: Annotated[float, Field(gt=0, lt=1)] = 0.05
    do: Literal["hold", "pause"] = "hold"


def _off(value: Any) -> Any:
    """YAML 1.1 reads a bare `off` as false."""
    return "off" if value is False else value


HoldPauseOff = Annotated[
    Literal["hold", "pause", "off"],
    BeforeValidator(_off, json_schema_input_type=Literal["hold", "pause", "off", False]),
]
ActOff = Annotated[Literal["act", "off"], BeforeValidator(_off, json_schema_input_type=Literal["act", "off", False])]


class Health(Part):
    sample_ratio: HoldPauseOff = "hold"
    over_exposure: ActOff | None = None
    silence: Silence | None = None
    coverage: Coverage | None = None
    judge_reference: JudgeReference | None = None
    audit: Audit | None = None
    alignment: Alignment | None = None
    unresolved: Unresolved | None = None
    declared: DeclaredServing | None = None
    rejects: HoldPauseOff = "hold"
    overdue_after: int = Field(10, ge=1, le=1_000)

    @property
    def watches_over_exposure(self) -> bool:
        """Unless the spec says otherwise, wherever the split is believed."""
        return self.over_exposure == "act" or (self.over_exposure is None and self.sample_ratio != "off")

    @property
    def scores(self) -> tuple[str, ...]:
        """Every score that a rule on the health of the measuring itself reads."""
        named = [part.score for part in (self.coverage, self.judge_reference, self.audit) if part is not None]
        return (*named, self.alignment.proxy, self.alignment.outcome) if self.alignment else tuple(named)


class Ramp(Part):
    stages: tuple[Share, ...] = Field(min_length=1)
    min_duration: Seconds = 3_600
    min_units: int = Field(1_000, ge=0)
    auto_advance: bool = False

    @model_validator(mode="after")
    def stages_rise(self) -> Ramp:
        if list(self.stages) != sorted(set(self.stages)) or self.stages[0] <= 0:
            raise ValueError(f"stages {list(self.stages)} must be above 0 and rise")
        return self


class Window(Part):
    days: str
    from_: str = Field(alias="from")
    to: str
    timezone: str = "UTC"


class Approvals(Part):
    required: int = Field(0, ge=0)
    from_: tuple[str, ...] = Field((), alias="from")


class Rollback(Part):
    to: Name


PiiName = Literal["email", "card", "iban", "ssn", "phone", "api_key"]


class Privacy(Part):
    """pii: raises or lowers a class of personal data outside what the variants declare: gate (the first one stops),
    signal (counts in pii_suspected_rate) or off. Unnamed classes gate where they have a validator, and else signal."""

    pii: dict[PiiName, Literal["gate", "signal", "off"]] = {}
    minimum_cell: int = Field(20, ge=1)
    retention: Seconds = 90 * 86_400
    mask_text: bool = True


def _gate_choice(value: Any) -> Any:
    return {"gate": value} if isinstance(value, str) else value


GateName = Annotated[GateChoice, BeforeValidator(_gate_choice, json_schema_input_type=str | GateChoice)]


class Spec(Part):
    hypothesis: str = Field(min_length=1)
    unit: Literal["prompt", "model", "workflow"]
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
    ramp: Ramp = Ramp(stages=(0.05,))
    windows: tuple[Window, ...] = ()
    approvals: Approvals = Approvals()
    rollback: Rollback
    privacy: Privacy = Privacy()


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
            "missing_consent": spec.user_impact == "material",
            "runaway": bool(spec.limits.caps),
            "undeclared_side_effect": any(variant.side_effects for variant in spec.variants),
        }
        return tuple(name for name, on in switched.items() if on)

    @cached_property
    def spec_hash(self) -> str:
        """sha256 over the canonical JSON of the parsed spec, hex: equal for equal meaning."""
        canonical = json.dumps(self.model_dump(mode="json", by_alias=True), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()
