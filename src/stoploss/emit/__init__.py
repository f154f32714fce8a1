"""The SDK for services: sends traces and outcomes without ever blocking or failing the service.

tracer = Tracer("127.0.0.1:9092", service="checkout-agent")
with tracer.request(experiment="checkout-agent-model", variant="small", unit_id=user) as request:
    answer = ask_the_model(question)
    request.set(model="small-1", input_tokens=answer.input_tokens, output_tokens=answer.output_tokens)
"""

from __future__ import annotations

from stoploss.emit.assignment import Assignment
from stoploss.emit.counters import Stats
from stoploss.emit.current import current_request
from stoploss.emit.outcomes import Outcomes
from stoploss.emit.request import Request
from stoploss.emit.tracer import Tracer

__all__ = ["Assignment", "Outcomes", "Request", "Stats", "Tracer", "current_request"]
