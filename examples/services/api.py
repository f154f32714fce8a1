"""A FastAPI service: the variant comes from the control topic through OpenFeature, and falls back without a lease.

pip install 'stoploss[openfeature]' fastapi uvicorn
STOPLOSS_KAFKA=127.0.0.1:9092 STOPLOSS_MONITOR_KEY=.stoploss/keys/monitor.pub uvicorn api:app
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from openfeature import api as openfeature
from openfeature.evaluation_context import EvaluationContext
from pydantic import BaseModel

from stoploss.emit import Tracer
from stoploss.emit.hook import AssignmentHook
from stoploss.openfeature import StoplossProvider

KAFKA = os.environ.get("STOPLOSS_KAFKA", "127.0.0.1:9092")
MODELS = {"current": "large-2", "small": "small-1"}


class Question(BaseModel):
    user: str
    text: str


class Feedback(BaseModel):
    token: str
    thumb_up: bool


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Made in each worker, after the fork: a child of fork() has no thread that listens."""
    key = Path(os.environ["STOPLOSS_MONITOR_KEY"])
    await asyncio.to_thread(openfeature.set_provider_and_wait, StoplossProvider(KAFKA, public_keys=[key]))
    openfeature.add_hooks([AssignmentHook()])
    async with Tracer(KAFKA, service="api") as app.state.tracer:
        yield
    openfeature.shutdown()


app = FastAPI(lifespan=lifespan)


async def ask_the_model(model: str, text: str) -> str:
    """Your provider's client stands here."""
    await asyncio.sleep(0)
    return f"{model} says: {text[::-1]}"


@app.post("/answer")
async def answer(question: Question) -> dict[str, str]:
    async with app.state.tracer.request(unit_id=question.user, channel="web") as request:
        flags = openfeature.get_client()
        # The hook makes this evaluation the request's assignment, with its run and epoch.
        variant = flags.get_string_value("checkout-agent-model", "current", EvaluationContext(question.user))
        text = await ask_the_model(MODELS[variant], question.text)
        request.set(model=MODELS[variant], output_tokens=len(text.split()))
        return {"text": text, "token": request.context}  # keep it in the session, where users may not be trusted


@app.post("/feedback", status_code=204)
async def feedback(said: Feedback) -> None:
    app.state.tracer.outcomes(said.token).feedback(1.0 if said.thumb_up else 0.0)
