"""What a trace costs the service: time in the caller's thread from opening a request to handing its trace over.

    python bench/emit_overhead.py [--bootstrap HOST:PORT] [--traces 2000] [--rate 2000]

Back to back, and at `--rate` requests a second as in a service: between two requests other programs take the caches,
and any Python costs several times as much, as the last row shows. Without an address, librdkafka's in-process broker
takes the traces: the caller's cost does not depend on who is at the other end.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bench.table import RUNS, Table, heading, spread
from stoploss.emit import Tracer

YARDSTICK = {str(number): number for number in range(30)}
TEXT = "The parcel left the warehouse on Monday and reaches you within two working days. " * 13


def flat(tracer: Tracer) -> None:
    with tracer.request(
        experiment="checkout-agent-model", variant="small", unit_id="u-1", tenant="acme", language="de", channel="web"
    ) as request:
        request.set(model="small-1", input_tokens=1_020, output_tokens=129, cost_usd=0.001, finish_reason="stop")


def agent(tracer: Tracer) -> None:
    with tracer.request(
        experiment="checkout-agent-model", variant="small", unit_id="u-1", tenant="acme", language="de", channel="web"
    ) as request:
        request.first_token()
        request.step("tool", "search", mcp_server="catalog", scope="catalog.read", outcome="ok")
        request.step("tool", "search", mcp_server="catalog", scope="catalog.read", outcome="ok")
        request.score("helpfulness", 0.8)
        request.set(model="small-1", input_tokens=1_020, output_tokens=129, cost_usd=0.001, finish_reason="stop")


def with_text(tracer: Tracer) -> None:
    with tracer.request(experiment="checkout-agent-model", variant="small", unit_id="u-1", tenant="acme") as request:
        request.text(output=TEXT)
        request.set(model="small-1", input_tokens=1_020, output_tokens=129, cost_usd=0.001, finish_reason="stop")


def with_context(tracer: Tracer) -> None:
    with tracer.request(experiment="checkout-agent-model", variant="small", unit_id="u-1", tenant="acme") as request:
        request.set(model="small-1", input_tokens=1_020, output_tokens=129, cost_usd=0.001, finish_reason="stop")
        tracer.outcome(request.context, "resolved", 1.0, kind="business")


SHAPES: dict[str, Callable[[Tracer], None]] = {
    "flat": flat,
    "2 steps, 1 score": agent,
    f"text of {len(TEXT):,} characters": with_text,
    "flat, and an outcome by its context": with_context,
}


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds a call in one run."""

    median_us: float
    p99_us: float


def measure(call: Callable[[], None], calls: int, rate_per_s: float | None) -> Cost:
    """At a rate, or back to back (None)."""
    spent_ns = []
    started_ns = time.perf_counter_ns()
    for i in range(calls):
        due_s = i / rate_per_s - (time.perf_counter_ns() - started_ns) / 1e9 if rate_per_s else 0.0
        if due_s > 0:
            time.sleep(due_s)
        before_ns = time.perf_counter_ns()
        call()
        spent_ns.append(time.perf_counter_ns() - before_ns)
    percentiles = statistics.quantiles(spent_ns, n=100)
    return Cost(percentiles[49] / 1e3, percentiles[98] / 1e3)


def traced(config: dict[str, object], shape: Callable[[Tracer], None], calls: int, rate: float | None) -> Cost:
    """One run of a shape with a tracer of its own; a run that lost a trace does not count."""
    tracer = Tracer(service="bench", producer_config=config, assignments_topic=None, queue_size=10 * calls)
    measure(partial(shape, tracer), 500, rate)
    tracer.flush(30)
    cost = measure(partial(shape, tracer), calls, rate)
    tracer.close(30)
    stats = tracer.stats
    if stats.dropped or stats.invalid:
        raise SystemExit(f"the run does not count: dropped {dict(stats.dropped)}, invalid {dict(stats.invalid)}")
    return cost


def yardstick() -> None:
    """Nothing of stoploss: what this machine takes, between two requests, for a few microseconds of Python."""
    json.dumps(YARDSTICK)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap", help="Kafka's address, with the topics there; default: librdkafka's own broker")
    parser.add_argument("--traces", type=int, default=2_000, help="traces a run (default 2,000)")
    parser.add_argument("--rate", type=float, default=2_000, help="requests per second (default 2,000)")
    options = parser.parse_args()
    in_process = {"bootstrap.servers": "", "test.mock.num.brokers": 1}
    config = {"bootstrap.servers": options.bootstrap} if options.bootstrap else in_process

    heading(
        "The SDK's cost in the caller's thread",
        f"{RUNS} runs of {options.traces:,} traces; broker {options.bootstrap or 'inside librdkafka'}; µs a trace, "
        "median of the runs (least–most).",
        ("confluent-kafka", "fastavro"),
    )
    paced = f"{options.rate:,.0f} a second"
    table = Table(("trace", "back to back, median", f"{paced}, median", f"{paced}, p99"))
    runs: dict[str, Callable[[float | None], Cost]] = {
        name: partial(traced, config, shape, options.traces) for name, shape in SHAPES.items()
    }
    runs["for comparison: json.dumps, 30 items"] = partial(measure, yardstick, options.traces)
    for name, run in runs.items():
        hot = [run(None) for _ in range(RUNS)]
        cold = [run(options.rate) for _ in range(RUNS)]
        table.add(
            name,
            spread([cost.median_us for cost in hot], 1),
            spread([cost.median_us for cost in cold], 1),
            spread([cost.p99_us for cost in cold], 1),
        )
    print(table.markdown())


if __name__ == "__main__":
    main()
