"""What people put on record after harm, carried by a `record` request as JSON: incidents, remedies, cases, results.

Each is a fact of the ledger. The judge keeps which incidents are open and which remedies they wait for, and no more: it
refuses what contradicts that. Everything else is read from the ledger again (incidents/facts.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Literal, assert_never

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

MOST_OPEN, MOST_REMEDIES, MOST_CASES, MOST_SETS = 32, 64, 2_000, 32
CommandId = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
CaseId = Annotated[str, Field(pattern=r"^case-[0-9a-f]{16}$")]
Text = Annotated[str, Field(min_length=1, max_length=4_000)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Format = Literal["jsonl", "inspect", "promptfoo", "deepeval", "openai"]


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IncidentOpened(_Said):
    """Somebody takes care of what a command answered; the evidence of it is kept until the incident is closed."""

    kind: Literal["incident_opened"] = "incident_opened"
    command_id: CommandId
    summary: Text


class FactorNoted(_Said):
    """Something that contributed to the incident, in a person's words."""

    kind: Literal["factor_noted"] = "factor_noted"
    command_id: CommandId
    text: Text


class RemedyAgreed(_Said):
    """What will be done so that it does not happen again, by whom and until when."""

    kind: Literal["remedy_agreed"] = "remedy_agreed"
    command_id: CommandId
    remedy: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
    what: Text
    owner: Name
    due: date


class RemedyDone(_Said):
    kind: Literal["remedy_done"] = "remedy_done"
    command_id: CommandId
    remedy: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
    how: Text


class IncidentClosed(_Said):
    kind: Literal["incident_closed"] = "incident_closed"
    command_id: CommandId
    conclusion: Text


class CasesPromoted(_Said):
    """Traces that were evidence of harm are evaluation cases now, in this version of that evaluation set."""

    kind: Literal["cases_promoted"] = "cases_promoted"
    command_ids: Annotated[tuple[CommandId, ...], Field(max_length=64)]
    evaluation_set: Name
    version: Name
    cases: Annotated[tuple[CaseId, ...], Field(min_length=1, max_length=MOST_CASES)]


class CasesDeclined(_Said):
    """Nobody makes cases of this harm, for the reason given."""

    kind: Literal["cases_declined"] = "cases_declined"
    command_ids: Annotated[tuple[CommandId, ...], Field(max_length=64)]
    why: Text


class OfflineResults(_Said):
    """How something did on promoted cases, measured elsewhere.

    subject  what was evaluated: a model, a prompt, a build
    read_as  format of the file that it was read from; sha256 of that file
    """

    kind: Literal["offline_results"] = "offline_results"
    evaluation_set: Name
    version: Name
    subject: Name
    read_as: Format
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    passed: Annotated[tuple[CaseId, ...], Field(max_length=MOST_CASES)]
    failed: Annotated[tuple[CaseId, ...], Field(max_length=MOST_CASES)]


class UnitErased(_Said):
    """A person's data was erased on demand.

    unit     keyed hash of the unit's id, of this purpose alone: who has the id and the installation's secret can check
             that it was, and nobody can tell rows of the ledger by it
    rows     that were found, by table; `incident_packs`: traces that were found in packs
    """

    kind: Literal["unit_erased"] = "unit_erased"
    unit: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    rows: dict[Name, int]


OfIncident = IncidentOpened | FactorNoted | RemedyAgreed | RemedyDone | IncidentClosed
OfCases = CasesPromoted | CasesDeclined | OfflineResults
Said = OfIncident | OfCases | UnitErased
_SAID: TypeAdapter[Said] = TypeAdapter(Annotated[Said, Field(discriminator="kind")])


def parse(body: str | None) -> Said | str:
    """What a record says, or why it cannot be read, as a sentence."""
    try:
        return _SAID.validate_json(body or "null")
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        way_out = "`stoploss postmortem`, `stoploss cases` and `stoploss erase` write it"
        return f"its body cannot be read ({where}: {first['msg']}); {way_out}"


def written(said: Said) -> str:
    """
    >>> written(FactorNoted(command_id="0" * 64, text="no test"))[:24]
    '{"kind":"factor_noted","'
    """
    return said.model_dump_json()


# ---- what the judge keeps --------------------------------------------------------------------------


@dataclass(slots=True)
class OpenIncident:
    """An incident that nobody has closed, and its remedies that nobody has done."""

    command_id: str
    remedies: list[str] = field(default_factory=list)


@dataclass(slots=True)
class CaseSet:
    """An evaluation set with cases of the experiment; failed: its newest results that failed, in words, or empty."""

    name: str
    failed: str = ""


def fold_cases(said: Said, sets: list[CaseSet]) -> None:
    """Takes what is said of cases: the newest results on a set stand, whatever version or subject they are of.

    Of the sets that were promoted into, the last ones are kept (MOST_SETS).
    """
    match said:
        case CasesPromoted():
            found = next((one for one in sets if one.name == said.evaluation_set), CaseSet(said.evaluation_set))
            sets[:] = [*(one for one in sets if one is not found), found][-MOST_SETS:]
        case OfflineResults():
            for one in sets:
                if one.name == said.evaluation_set:
                    one.failed = f"{len(said.failed)} of {said.version}, by {said.subject}" if said.failed else ""


def failing(sets: Sequence[CaseSet]) -> list[str]:
    """
    >>> failing([CaseSet("leaks", "2 of v3, by small-2"), CaseSet("tone")])
    ["the newest results on the evaluation set 'leaks' failed (cases: 2 of v3, by small-2)"]
    """
    return [
        f"the newest results on the evaluation set {one.name!r} failed (cases: {one.failed})"
        for one in sets
        if one.failed
    ]


def refusal(said: Said, incidents: list[OpenIncident]) -> str | None:
    """Why a record contradicts what is open, or None."""
    if not isinstance(said, OfIncident):
        return None
    found = next((incident for incident in incidents if incident.command_id == said.command_id), None)
    if isinstance(said, IncidentOpened):
        return _refused_opening(found, incidents)
    short = said.command_id[:12]
    if found is None:
        return f"no incident of command {short} is open; open it with `stoploss postmortem {short} --open SUMMARY`"
    return _refused_inside(said, found)


def _refused_opening(found: OpenIncident | None, incidents: list[OpenIncident]) -> str | None:
    if found is not None:
        return f"the incident of command {found.command_id[:12]} is open already"
    if len(incidents) >= MOST_OPEN:
        return f"{MOST_OPEN} incidents are open, and no more can be; close those that are done with"
    return None


def _refused_inside(said: FactorNoted | RemedyAgreed | RemedyDone | IncidentClosed, found: OpenIncident) -> str | None:
    match said:
        case FactorNoted():
            return None
        case RemedyAgreed():
            if said.remedy in found.remedies:
                return f"a remedy {said.remedy!r} is open already; give the new one another id"
            if len(found.remedies) >= MOST_REMEDIES:
                return f"{MOST_REMEDIES} remedies are open, and no more can be; close those that are done"
            return None
        case RemedyDone():
            known = ", ".join(found.remedies) or "none"
            return None if said.remedy in found.remedies else f"no remedy {said.remedy!r} is open; open are: {known}"
        case IncidentClosed():
            if not found.remedies:
                return None
            return f"remedies are not done: {', '.join(found.remedies)}; say of each what was done with --done"
        case _:
            assert_never(said)


def fold(said: Said, incidents: list[OpenIncident]) -> bool:
    """Takes a record that was not refused; True where another set of incidents is open now."""
    match said:
        case IncidentOpened():
            incidents.append(OpenIncident(said.command_id))
        case IncidentClosed():
            incidents[:] = [incident for incident in incidents if incident.command_id != said.command_id]
        case RemedyAgreed() | RemedyDone():
            _fold_remedy(said, next(one for one in incidents if one.command_id == said.command_id))
            return False
        case _:
            return False
    return True


def _fold_remedy(said: RemedyAgreed | RemedyDone, incident: OpenIncident) -> None:
    if isinstance(said, RemedyAgreed):
        incident.remedies.append(said.remedy)
    else:
        incident.remedies.remove(said.remedy)
