"""What a request carries beside its reason, as JSON: the terms of an approval, the decision of a completion, a kind.

Read once by whoever takes the request; what cannot be read is refused with the field and what belongs there.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from stoploss.errors import RequestRefused
from stoploss.governance.windows import fault
from stoploss.spec.base import Seconds, Share

Domain = Literal["product", "privacy", "security", "ethics"]
Waivable = Literal["offline_evaluation", "rehearsed_rollback"]
LARGEST_BODY = 16_384
B = TypeVar("B", bound="Body")
Text = Annotated[str, Field(max_length=4_000)]


class Body(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, allow_inf_nan=False
    )


class ExcludedSegment(Body):
    dimension: str = Field(min_length=1, max_length=200)
    value: str = Field(min_length=1, max_length=200)


class WindowTerm(Body):
    """As `windows` of a spec: days Mon-Fri, from 09:00, to 17:00, timezone Europe/Berlin."""

    days: str
    from_: str = Field(alias="from")
    to: str
    timezone: str = "UTC"

    @model_validator(mode="after")
    def can_be_read(self) -> WindowTerm:
        if found := fault(self.days, self.from_, self.to, self.timezone):
            raise ValueError(found)
        return self


class ApprovalTerms(Body):
    """approve: for one domain, under conditions that are enforced, for as long as it is valid."""

    domain: Domain
    statement: Text = ""
    valid_for: Seconds | None = None
    largest_exposure: Annotated[Share, Field(gt=0)] | None = None
    window: WindowTerm | None = None
    excluded: tuple[ExcludedSegment, ...] = Field((), max_length=64)
    waives: tuple[Waivable, ...] = ()


class RejectionTerms(Body):
    domain: Domain


class CompletionTerms(Body):
    """reviewer: who looked at the evidence, beside the one who decides."""

    decision: Literal["rollout", "iterate", "rollback"]
    caveats: Text = ""
    lesson: Text = ""
    reviewer: Annotated[str, Field(max_length=200)] = ""


class NoteTerms(Body):
    """rechecked: the item of a baseline that was looked at again and still holds."""

    kind: Literal["note", "assumption", "incident", "near_miss", "lesson", "rechecked"] = "note"
    item: str | None = Field(None, max_length=200)

    @model_validator(mode="after")
    def a_recheck_names_its_item(self) -> NoteTerms:
        if (self.kind == "rechecked") != (self.item is not None):
            raise ValueError("'item' belongs to kind 'rechecked', and only there")
        return self


BODIES: dict[str, type[Body]] = {
    "approve": ApprovalTerms,
    "reject": RejectionTerms,
    "complete": CompletionTerms,
    "note": NoteTerms,
}
"""By action; all other requests carry none."""


def text_of(body: Body) -> str:
    """As it travels: equal bodies give equal bytes."""
    return json.dumps(body.model_dump(mode="json", by_alias=True, exclude_defaults=True), sort_keys=True)


def body_of(kind: type[B], text: str | None) -> B:
    """The body of a request; none at all stands for one without a field. Raises RequestRefused with the fault."""
    text = text or "{}"
    if len(text) > LARGEST_BODY:
        raise RequestRefused(f"the body of the request has {len(text):,} characters; at most {LARGEST_BODY:,} are read")
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'body'}: {str(fault['msg']).removeprefix('Value error, ')}"
            for fault in error.errors()
        )
        raise RequestRefused(f"what the request carries is wrong: {faults}") from error


def fault_of(action: str, text: str | None) -> str | None:
    """What is wrong with the body of a request, or None."""
    if action not in BODIES:
        return None if text is None else f"{action} carries nothing but a reason; send it without a body"
    try:
        body_of(BODIES[action], text)
    except RequestRefused as error:
        return str(error)
    return None
