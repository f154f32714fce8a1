"""Commands by which people agree on an experiment: check, amend, approve, complete, note, and the policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from stoploss.cli.options import Experiment, Json, Share, Why

app = typer.Typer()

Spec = Annotated[Path, typer.Argument(help="The experiment's YAML.", metavar="FILE.yaml")]
Domain = Annotated[
    Literal["product", "privacy", "security", "ethics"], typer.Option("--for", help="The domain that you speak for.")
]
WhyStopped = Annotated[str, typer.Option("--reason", "-m", help="Why; needed, and kept for good.")]
WhyDecided = Annotated[str, typer.Option("--reason", "-m", help="Why; needed, also where it is as recommended.")]


@app.command()
def check(
    file: Spec,
    policy: Annotated[Path | None, typer.Option("--policy", help="The organisation's policy.yaml.")] = None,
) -> None:
    """Check an experiment's file without a broker.

    Everything that the form, the rules and the policy refuse is named with line and field, and the exit code is 1: the
    step for CI. Without --policy, only form and rules.
    """
    from stoploss.cli import governing

    governing.check(file, policy)


@app.command()
def amend(file: Spec, reason: Why = "", as_json: Json = False) -> None:
    """Change a registered experiment, with a reason.

    What changes scope, stop rule or target voids the approvals.
    """
    from stoploss.cli import asking

    asking.register(file, reason, as_json, action="amend")


@app.command()
def approve(
    experiment: Experiment,
    domain: Domain,
    reason: Why = "",
    largest: Annotated[
        float | None, typer.Option("--up-to", min=0.0001, max=1.0, help="Largest share of traffic.")
    ] = None,
    valid_for: Annotated[str | None, typer.Option("--valid-for", help="How long it counts, such as 30d.")] = None,
    window: Annotated[
        str | None, typer.Option("--window", help='When exposure may be raised: "Mon-Fri 09:00-17:00 Europe/Berlin".')
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", help="A segment that gets control only: tenant=acme.")
    ] = None,
    waive: Annotated[
        list[str] | None, typer.Option("--waive", help="offline_evaluation or rehearsed_rollback need not be there.")
    ] = None,
    statement: Annotated[str, typer.Option("--statement", help="On the impact on users, where it is material.")] = "",
    as_json: Json = False,
) -> None:
    """Approve an experiment for one domain.

    The conditions are enforced. An author never approves their own.
    """
    from stoploss.cli import governing

    terms = {
        "domain": domain,
        "largestExposure": largest,
        "validFor": valid_for,
        "window": window,
        "without": without,
        "waives": waive,
        "statement": statement,
    }
    governing.approve(experiment, terms, reason, as_json)


@app.command()
def reject(experiment: Experiment, domain: Domain, reason: Why = "", as_json: Json = False) -> None:
    """Reject an experiment for one domain.

    Nothing raises its exposure until you approve.
    """
    from stoploss.cli import governing

    governing.ask("reject", experiment, {"domain": domain}, reason, as_json)


@app.command()
def ramp(experiment: Experiment, exposure: Share = None, reason: Why = "", as_json: Json = False) -> None:
    """Give the treatment another share, within the run.

    It is that of the next stage, or --exposure.
    """
    from stoploss.cli import asking

    asking.ask("ramp", experiment, reason, as_json, exposure)


@app.command()
def complete(
    experiment: Experiment,
    decision: Annotated[Literal["rollout", "iterate", "rollback"], typer.Option(help="What is done.")],
    reason: WhyDecided = "",
    caveats: Annotated[str, typer.Option(help="What the decision leaves open.")] = "",
    reviewer: Annotated[str, typer.Option(help="Who looked at the evidence beside you.", metavar="NAME")] = "",
    lesson: Annotated[str, typer.Option(help="What was learned.")] = "",
    as_json: Json = False,
) -> None:
    """Decide on an experiment.

    A rollout of what runs leaves the treatment where it is: served, watched, and everybody's to stop. For another
    decision it is paused, stopped or rolled back first. Every decision needs a reason.
    """
    from stoploss.cli import governing

    terms = {"decision": decision, "caveats": caveats, "lesson": lesson, "reviewer": reviewer}
    governing.complete(experiment, terms, reason, as_json)


@app.command()
def reviewed(experiment: Experiment, reason: Why = "", as_json: Json = False) -> None:
    """Say that a completed experiment was reviewed.

    Or one that was rolled out: it stays served, and its review is due no more.
    """
    from stoploss.cli import asking

    asking.ask("reviewed", experiment, reason, as_json)


@app.command()
def note(
    experiment: Experiment,
    reason: Annotated[str, typer.Option("--reason", "-m", help="The note; kept for good.")],
    kind: Annotated[
        Literal["note", "assumption", "incident", "near_miss", "lesson"], typer.Option(help="What it is.")
    ] = "note",
    rechecked: Annotated[
        str | None, typer.Option("--rechecked", help="The baseline that you have looked at again.", metavar="ITEM")
    ] = None,
    as_json: Json = False,
) -> None:
    """Put a note beside the verdicts.

    An assumption, an incident of a provider, a near miss, a lesson.
    """
    from stoploss.cli import governing

    terms = {"kind": "rechecked", "item": rechecked} if rechecked else {"kind": kind}
    governing.ask("note", experiment, terms, reason, as_json)


@app.command()
def clone(
    experiment: Experiment,
    name: Annotated[str, typer.Argument(help="Name of the new experiment.", metavar="NAME")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write it; NAME.yaml without.")] = None,
) -> None:
    """Write a spec into a file, under another name.

    To run an experiment again: runs under one name are kept apart, and a completed one stays completed.
    """
    from stoploss.cli import governing

    governing.clone(experiment, name, output)


@app.command(name="list")
def list_experiments(as_json: Json = False) -> None:
    """All experiments, one line each.

    State, team, class of risk, hypothesis.
    """
    from stoploss.cli import governing

    governing.show_list(as_json)


@app.command()
def diff(experiment: Experiment, file: Spec, as_json: Json = False) -> None:
    """What a file would change in an experiment.

    And whether approvals would be lost by it.
    """
    from stoploss.cli import governing

    governing.show_diff(experiment, file, as_json)


@app.command()
def policy(
    file: Annotated[Path | None, typer.Argument(help="The policy to put in force.", metavar="[POLICY.yaml]")] = None,
    reason: Why = "",
    as_json: Json = False,
) -> None:
    """Put the organisation's policy in force.

    Without a file: print the one that is.
    """
    from stoploss.cli import governing

    governing.policy(file, reason, as_json)


@app.command()
def budgets(as_json: Json = False) -> None:
    """What teams and the programme have spent.

    Of the budgets of the policy, with a forecast of when they will be gone.
    """
    from stoploss.cli import budgets

    budgets.budgets(as_json)


@app.command()
def overlaps(as_json: Json = False) -> None:
    """Which experiments run on the same traffic.

    With what is known of it: whether the effect of one is another in each variant of the other.
    """
    from stoploss.cli import overlaps

    overlaps.overlaps(as_json)


@app.command()
def freeze(reason: WhyStopped, as_json: Json = False) -> None:
    """Stop the line: pause every experiment that runs.

    Nothing is started, resumed or ramped up until `unfreeze`.
    """
    from stoploss.cli import freezing

    freezing.freeze(reason, as_json)


@app.command()
def unfreeze(reason: WhyStopped, as_json: Json = False) -> None:
    """Lift the stop of the line.

    Nothing starts by itself: each experiment waits for its resume.
    """
    from stoploss.cli import freezing

    freezing.unfreeze(reason, as_json)
