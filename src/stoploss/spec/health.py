"""What a spec watches besides the metrics themselves: drift, silence, scores, serving, the split."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from stoploss.spec.base import Alpha, Part, Seconds
from stoploss.spec.detectors import check_detector


class DriftWatch(Part):
    """A metric whose level is watched in each arm, or a segment dimension whose mix of values is."""

    metric: str | None = None
    mix: str | None = None
    detector: Annotated[str, AfterValidator(check_detector)] = "ADWIN"
    params: dict[str, float] = Field(default_factory=dict)
    action: Literal["pause", "none"] = "pause"

    @model_validator(mode="after")
    def one_of_two(self) -> DriftWatch:
        if (self.metric is None) == (self.mix is None):
            raise ValueError("drift is watched in a metric or in the mix of a dimension; give exactly one of the two")
        if self.mix is not None and self.model_fields_set & {"detector", "params"}:
            raise ValueError("detector and params belong to a metric; a mix has a test of its own: drop them")
        return self


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
    """The largest share of outcomes that may fail to be attached to a trace: malformed, untimely, or without one."""

    max: Annotated[float, Field(gt=0, lt=1)] = 0.05
    do: Literal["hold", "pause"] = "hold"


class Blind(Part):
    """What is done while the monitor cannot see what a run does: it fails closed.

    hold          after so long the ramp is held, until it sees again
    then, after   what is ordered after so long, latched until a person resumes
    lag_limit     records that intake may be behind in one partition of a source
    reject_limit  share of all records of a minute that intake may refuse
    """

    hold: Seconds = 30
    then: Literal["pause", "stop", "none"] = "pause"
    after: Seconds = 300
    lag_limit: int = Field(10_000, ge=1)
    reject_limit: Annotated[float, Field(gt=0, lt=1)] = 0.5

    @model_validator(mode="after")
    def holds_first(self) -> Blind:
        if self.then != "none" and self.after <= self.hold:
            raise ValueError(
                f"after ({self.after} s) is not above hold ({self.hold} s), so nothing would ever be held; "
                "raise after, or lower hold"
            )
        return self


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
    blind: Blind = Blind()

    @property
    def watches_over_exposure(self) -> bool:
        """Unless the spec says otherwise, wherever the split is believed."""
        return self.over_exposure == "act" or (self.over_exposure is None and self.sample_ratio != "off")

    @property
    def scores(self) -> tuple[str, ...]:
        """Every score that a rule on the health of the measuring itself reads."""
        named = [part.score for part in (self.coverage, self.judge_reference, self.audit) if part is not None]
        return (*named, self.alignment.proxy, self.alignment.outcome) if self.alignment else tuple(named)
