"""What all commands have in common: options that mean the same everywhere, and exit codes."""

from __future__ import annotations

from typing import Annotated

import typer

REFUSED, ANSWER_IS_NO = 1, 3

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Experiment = Annotated[str, typer.Argument(help="Name of the experiment.", metavar="EXPERIMENT")]
Why = Annotated[str, typer.Option("--reason", "-m", help="Why; kept for good.")]
Share = Annotated[float | None, typer.Option(min=0.0001, max=1.0, help="Share of traffic of the treatment variant.")]
