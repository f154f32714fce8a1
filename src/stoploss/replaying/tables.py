"""What other rules would have done, as people read it on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stoploss.replaying.other_rules import OtherRules, RuleCompared, RunCompared, Word
from stoploss.review.words import printable, utc

STYLE = {"new stop": "bold red", "not stopped": "yellow", "sooner": "green", "later": "yellow"}
UNKNOWN_BEYOND = (
    "judged on the recorded traffic, up to the recorded stop: what the treatment would have done after it was never "
    "observed, and the exposures added are an estimate; what a throttle would have spared is not counted"
)


def other_rules_view(found: OtherRules, file: str) -> Group:
    """Headline, a table for each run, and the cause of each new stop."""
    parts: list[RenderableType] = [Text(f"{found.experiment}: as recorded, and under {file}", style="bold")]
    if not found.runs:
        parts.append(Text("it was never started: there is nothing to judge"))
    for run in found.runs:
        parts += [Text(run_sentence(run)), *_table(run), *_causes(run)]
    if found.runs:
        parts.append(Text(UNKNOWN_BEYOND))
    return Group(*parts)


def run_sentence(run: RunCompared) -> str:
    """What became of a run, in a sentence."""
    recorded = "not stopped" if run.recorded_stop is None else f"stopped after {clock(run.recorded_stop)}"
    if run.other_stop is None:
        would = f"would not have stopped within the {clock(run.recorded_hours)} that were recorded"
    else:
        would = f"would have stopped after {clock(run.other_stop)}"
    return (
        f"run {run.run}, from {utc(run.began_at)}: {recorded}, and {would}; of {run.exposures:,} exposures "
        f"{run.exposures_saved:,} saved, about {run.exposures_added:,} added"
    )


def clock(hours: float) -> str:
    """
    >>> clock(0.0129), clock(30.5)
    ('0:00:46', '30:30:00')
    """
    seconds = round(hours * 3_600)
    return f"{seconds // 3_600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _table(run: RunCompared) -> Iterator[Table]:
    if not run.rules:
        return
    table = Table(title="into the run, in h:mm:ss", title_justify="left", header_style="bold")
    for header in ("rule", "watches", "recorded", "would have", "exposures", "so"):
        table.add_column(header, overflow="fold")
    for rule in run.rules:
        said = (_said(rule.recorded), _said(rule.other))
        change = Text(rule.change, style=STYLE.get(rule.change, ""))
        table.add_row(rule.rule, printable(rule.stream), *said, _exposures(rule), change)
    yield table


def _said(word: Word | None) -> str:
    if word is None:
        return "-"
    return f"{clock(word.hours)} {'alarm' if word.action == 'none' else word.action}"


def _exposures(rule: RuleCompared) -> str:
    saved = f"{rule.exposures_saved:,} saved" if rule.exposures_saved else ""
    added = f"about {rule.exposures_added:,} added" if rule.exposures_added else ""
    return ", ".join(filter(None, (saved, added)))


def _causes(run: RunCompared) -> Iterator[Text]:
    for rule in run.new_stops:
        assert rule.other is not None
        yield Text(f"new stop by {rule.rule}: {printable(rule.other.sentence)}", style=STYLE["new stop"])
