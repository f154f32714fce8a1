"""A plain service: one question, one answer, and what the user thought of it.

    STOPLOSS_KAFKA=127.0.0.1:9092 python examples/services/plain.py u-4711 "Where is my order?"

The variant is worked out by hand here; api.py has it from a flag.
"""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass

from stoploss.emit import Assignment, Tracer, current_request

tracer = Tracer(os.environ.get("STOPLOSS_KAFKA", "127.0.0.1:9092"), service="plain")
MODELS = {"current": "large-2", "small": "small-1"}


@dataclass(frozen=True)
class Answer:
    text: str
    input_tokens: int
    output_tokens: int


def ask_the_model(model: str, question: str) -> Answer:
    """Your provider's client stands here."""
    text = f"{model} says: it is on its way."
    return Answer(text, input_tokens=len(question.split()), output_tokens=len(text.split()))


def variant_of(user: str) -> str:
    """5 % get the small model, always the same ones."""
    bucket = int.from_bytes(hashlib.sha256(f"checkout-agent-model/{user}".encode()).digest()[:8]) % 100
    return "small" if bucket < 5 else "current"


@tracer.traced(language="en", channel="shell")
def handle(user: str, question: str) -> tuple[str, str]:
    """The answer, and the token that goes with whatever becomes known of it later."""
    request, variant = current_request(), variant_of(user)
    assert request is not None
    request.assign(Assignment("checkout-agent-model", variant))
    answer = ask_the_model(MODELS[variant], question)
    request.set(unit_id=user, model=MODELS[variant], input_tokens=answer.input_tokens)
    request.set(output_tokens=answer.output_tokens, cost_usd=0.0004)
    request.step("tool", "search", scope="catalog.read")
    request.text(input=question, output=answer.text)
    return answer.text, request.context


if __name__ == "__main__":
    user, question = sys.argv[1:]
    text, token = handle(user, question)
    print(text)
    tracer.outcomes(token).feedback(1.0)  # any time, from any process that has the token
    tracer.outcomes(token).business("resolved", 1.0)
    tracer.close()
    print(f"delivered: {tracer.stats.delivered} of {tracer.stats.recorded}")
