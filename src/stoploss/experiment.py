"""The spec of an experiment: what is compared, what must hold, and what is done when it does not.

Parsed once, at the edge (spec_file.py); everything inside works with these frozen models. Field names are
snake_case here and camelCase in YAML.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from stoploss import metrics

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
ALWAYS_ON_GATES = ("pii_exposed", "privilege_escalation", "unapproved_side_effect")
DECLARABLE_GATES = ("undeclared_tool", "undeclared_mcp_server", "shadow_side_effect")
CROSS = "×"
SEGMENT_COLUMNS = ("tenant", "language", "channel")
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


Seconds = Annotated[int, BeforeValidator(parse_duration), Field(gt=0, le=3_650 * 86_400)]
Share = Annotated[float, Field(ge=0, le=1)]
Alpha = Annotated[float, Field(ge=1e-9, le=0.2)]
Name = Annotated[str, AfterValidator(check_name)]
GuardrailAction = Literal["rollback", "pause", "stop"]
Detector = Literal["ADWIN"]


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
    score: str


class RiskEvent(Part):
    event: str
    weight: float = Field(gt=0)


class Objective(Part):
    quality: Quality | None = None
    risk: tuple[RiskEvent, ...] = ()
    lambda_cost: float = Field(0.0, ge=0)
    lambda_risk: float = Field(0.0, ge=0)
    indifference: float = Field(0.0, ge=0)
    alpha: Alpha = 0.05

    @model_validator(mode="after")
    def risk_is_defined(self) -> Objective:
        if self.lambda_risk and not self.risk:
            raise ValueError("lambdaRisk weighs events, but no risk events are listed; list them, or drop lambdaRisk")
        return self


class Margin(Part):
    absolute: float | None = Field(None, ge=0, le=1e12)
    relative: float | None = Field(None, ge=0, le=1e3)

    @model_validator(mode="after")
    def one_of_two(self) -> Margin:
        if (self.absolute is None) == (self.relative is None):
            raise ValueError("a margin is either absolute or relative; give exactly one of the two")
        return self


class Guardrail(Part):
    """A metric on which the treatment must not be worse than control by more than the margin."""

    metric: str
    direction: Literal["lower", "higher"]
    margin: Margin
    transform: metrics.Transform = "none"
    alpha: Alpha = 0.01
    action: GuardrailAction = "rollback"


class GateChoice(Part):
    gate: str
    action: Literal["stop", "rollback"] = "stop"


class DriftWatch(Part):
    metric: str
    detector: Detector = "ADWIN"
    params: dict[str, float] = {}
    action: Literal["pause", "none"] = "pause"


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
    score: str
    min: Share
    do: Literal["hold", "pause"] = "hold"


def _off(value: Any) -> Any:
    """YAML 1.1 reads a bare `off` as false."""
    return "off" if value is False else value


class Health(Part):
    sample_ratio: Annotated[Literal["hold", "pause", "off"], BeforeValidator(_off)] = "hold"
    silence: Silence | None = None
    coverage: Coverage | None = None


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


class Spec(Part):
    hypothesis: str = Field(min_length=1)
    unit: Literal["prompt", "model", "workflow"]
    success: Success
    assignment: Assignment
    variants: tuple[Variant, ...]
    segments: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    objective: Objective | None = None
    guardrails: tuple[Guardrail, ...] = ()
    gates: tuple[Annotated[GateChoice, BeforeValidator(_gate_choice)], ...] = ()
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
        named += [spec.objective.quality.score] if spec.objective and spec.objective.quality else []
        named += [spec.health.coverage.score] if spec.health.coverage else []
        return tuple(dict.fromkeys(name for name in named if name not in metrics.METRICS))

    def metric(self, name: str) -> metrics.Metric:
        return metrics.METRICS[name] if name in metrics.METRICS else metrics.score(name)

    @cached_property
    def gates(self) -> tuple[GateChoice, ...]:
        """Always-on gates first, then the declared ones; their index is the bit of evidence rows."""
        chosen = {choice.gate: choice for choice in self.spec.gates}
        names = (*ALWAYS_ON_GATES, *(name for name in chosen if name not in ALWAYS_ON_GATES))
        return tuple(chosen.get(name, GateChoice(gate=name)) for name in names)

    @cached_property
    def spec_hash(self) -> str:
        """sha256 over the canonical JSON of the parsed spec, hex: equal for equal meaning."""
        canonical = json.dumps(self.model_dump(mode="json", by_alias=True), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()
