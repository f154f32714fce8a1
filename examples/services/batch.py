"""A batch job: many items at once, each a trace; a grader reads its file afterwards and sends a score for each.

    STOPLOSS_KAFKA=127.0.0.1:9092 python examples/services/batch.py run questions.jsonl answers.jsonl
    STOPLOSS_KAFKA=127.0.0.1:9092 python examples/services/batch.py grade answers.jsonl

questions.jsonl has one {"unit": …, "variant": …, "question": …} a line.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from stoploss.emit import Tracer

KAFKA = os.environ.get("STOPLOSS_KAFKA", "127.0.0.1:9092")
EXPERIMENT = "checkout-agent-model"


async def ask_the_model(question: str) -> str:
    """Your provider's client stands here."""
    await asyncio.sleep(0)
    return question.upper()


async def handle(tracer: Tracer, item: dict[str, Any]) -> dict[str, Any]:
    """One item's answer, with the token under which its score is sent later."""
    async with tracer.request(
        experiment=EXPERIMENT, variant=item["variant"], unit_id=item["unit"], operation="batch"
    ) as request:
        answer = await ask_the_model(item["question"])
        request.set(output_tokens=len(answer.split()))
        return {"answer": answer, "context": request.context}


async def run(questions: Path, answers: Path) -> None:
    """Leaving the tracer's block delivers what is pending: a job that ends must not end before its traces."""
    async with Tracer(KAFKA, service="nightly-batch") as tracer:
        items = [json.loads(line) for line in questions.read_text().splitlines()]
        done = await asyncio.gather(*(handle(tracer, item) for item in items))
        answers.write_text("".join(json.dumps(one) + "\n" for one in done))
    print(f"delivered: {tracer.stats.delivered} of {tracer.stats.recorded}")


def grade(answers: Path) -> None:
    """Another process, another day: the token brings unit, variant and segments of the trace along."""
    with Tracer(KAFKA, service="grader") as tracer:
        for line in answers.read_text().splitlines():
            one = json.loads(line)
            tracer.outcomes(one["context"]).score("helpfulness", 0.9, source="judge:grader@3")
    print(f"delivered: {tracer.stats.delivered} of {tracer.stats.recorded}")


if __name__ == "__main__":
    command, *files = sys.argv[1:]
    if command == "run":
        asyncio.run(run(*map(Path, files)))
    else:
        grade(*map(Path, files))
