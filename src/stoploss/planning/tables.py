"""A plan as people read it on a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stoploss.planning.forecast import LONGEST_HOURS, Cost, Forecast, Plan, Reach
from stoploss.review.words import printable, share

VERDICT_STYLE = {"in time": "green", "late": "yellow", "never": "bold red"}
NOT_FOUND = f"not in {LONGEST_HOURS / 24:.0f} d"


def plan_view(plan: Plan) -> Group:
    """Headline, guardrails by stage, false stops, advice."""
    parts: list[RenderableType] = [
        Text(f"{plan.experiment}: the plan", style="bold"),
        Text(printable(plan.source)),
        Text(stages_sentence(plan)),
    ]
    if plan.guardrails:
        parts.append(_guardrails(plan))
    parts.append(_promises(plan))
    parts.append(Text(false_stops_sentence(plan)))
    parts += [_advice(forecast) for forecast in plan.guardrails if forecast.advice]
    return Group(*parts)


def _advice(forecast: Forecast) -> Text:
    return Text(f"{forecast.watches}: {forecast.advice}", style=VERDICT_STYLE[forecast.verdict])


def stages_sentence(plan: Plan) -> str:
    stages = ", ".join(f"{share(stage.exposure)} for {hours(stage.hours)}" for stage in plan.stages)
    return f"ramp: {stages}; planned for a harm of {plan.times:g} margins, since one of exactly one margin is allowed"


def false_stops_sentence(plan: Plan) -> str:
    ramp = f"; over the ramp, a run per stage: {share(plan.false_stops_of_ramp)}" if len(plan.stages) > 1 else ""
    return (
        f"probability that a harmless treatment is stopped, all rules that promise together: at most "
        f"{share(plan.false_stops)} in a run, however long it lasts{ramp}; `stoploss calibrate` measures it"
    )


def hours(value: float) -> str:
    """
    >>> hours(0.5), hours(12.34), hours(100.0), hours(float("inf"))
    ('30 min', '12 h', '4.2 d', 'for ever')
    """
    if value == float("inf"):
        return "for ever"
    if value < 1:
        return f"{60 * value:.0f} min"
    return f"{value:.2g} h" if value < 72 else f"{value / 24:.3g} d"


def count(value: float) -> str:
    """
    >>> count(12345.6)
    '12,300'
    """
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}"


def _guardrails(plan: Plan) -> Table:
    table = _table(
        "how soon the harm is found: half of the runs, four fifths",
        "guardrail",
        "harm",
        "at",
        "time",
        "units",
        "exposures at risk",
        "smallest harm in time",
        "verdict",
    )
    for forecast in plan.guardrails:
        _rows(table, forecast)
    return table


def _rows(table: Table, forecast: Forecast) -> None:
    verdict = Text(forecast.verdict, style=VERDICT_STYLE[forecast.verdict])
    if not forecast.reaches:
        table.add_row(forecast.watches, forecast.text, "", "", "", "", "none", verdict)
    for number, reach in enumerate(forecast.reaches):
        first, last = number == 0, number == len(forecast.reaches) - 1
        table.add_row(
            forecast.watches if first else "",
            forecast.text if first else "",
            share(reach.exposure),
            *_costs(reach),
            (forecast.smallest or "none") if last else "",
            verdict if last else "",
        )


def _costs(reach: Reach) -> tuple[str, str, str]:
    both = (reach.median, reach.four_fifths)
    return (
        ", ".join(NOT_FOUND if cost is None else hours(cost.hours) for cost in both),
        ", ".join(_number(cost, "units") for cost in both),
        ", ".join(_number(cost, "exposures") for cost in both),
    )


def _number(cost: Cost | None, field: str) -> str:
    return "-" if cost is None else count(getattr(cost, field))


def _promises(plan: Plan) -> Table:
    table = _table("false stops: what each rule promises over a run", "rule", "watches", "at most")
    for promise in plan.promises:
        table.add_row(promise.rule, promise.watches, "no promise" if promise.alpha is None else share(promise.alpha))
    return table


def _table(title: str, *headers: str) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold")
    return table
