"""A tracer and its service, without a broker: nothing blocks, nothing raises, everything is counted."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from openfeature.flag_evaluation import FlagEvaluationDetails

from stoploss.emit import Assignment, Stats, Tracer
from stoploss.emit.clock import Clock
from stoploss.emit.context import from_token
from stoploss.emit.outlet import OncePerInterval


@pytest.fixture
def closed_port() -> Iterator[str]:
    """An address that refuses every connection: bound, never listening."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@dataclass
class Hands:
    """Clocks that tests move."""

    now_s: float = 100.0
    wall_us: int = 1_700_000_000_000_000

    def clock(self) -> Clock:
        return Clock(lambda: self.now_s, lambda: self.wall_us)


@dataclass
class Recorder:
    """A tracer whose records stay here, to look at what would be sent."""

    tracer: Tracer
    traces: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def recorder(closed_port: str, hands: Hands, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    tracer = Tracer(closed_port, service="checkout", clock=hands.clock())
    recorder = Recorder(tracer)
    monkeypatch.setattr(tracer, "send", recorder.traces.append)
    yield recorder
    tracer.close(0)


def accounted(stats: Stats) -> int:
    return stats.delivered + stats.pending + sum(stats.dropped.values())


def test_above_the_bound_traces_are_dropped_and_counted_and_the_service_goes_on(closed_port: str) -> None:
    tracer = Tracer(closed_port, service="checkout", queue_size=100)
    for _ in range(250):
        tracer.record(latency_ms=1.0)
    stats = tracer.stats
    assert (stats.recorded, stats.pending, stats.dropped) == (250, 100, {"queue_full": 150})
    tracer.close(0)
    assert tracer.stats.dropped == {"queue_full": 150, "not_delivered_at_close": 100}
    assert accounted(tracer.stats) == 250


def test_eight_threads_lose_no_count_and_never_pass_the_bound(closed_port: str) -> None:
    tracer = Tracer(closed_port, service="checkout", queue_size=1_000)
    start = threading.Barrier(8)

    def serve() -> None:
        start.wait()
        for _ in range(500):
            with tracer.request(experiment="e", variant="v"):
                pass

    threads = [threading.Thread(target=serve) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = tracer.stats
    assert (stats.recorded, stats.pending, stats.dropped) == (4_000, 1_000, {"queue_full": 3_000})
    assert stats.assignments == {("e", "v"): 4_000}
    tracer.close(0)


def test_closing_twice_or_before_the_first_trace_is_allowed(closed_port: str) -> None:
    tracer = Tracer(closed_port, service="checkout")
    tracer.close()
    tracer.close()
    assert tracer.stats.recorded == 0


def test_after_close_traces_and_outcomes_are_counted_as_dropped(closed_port: str) -> None:
    tracer = Tracer(closed_port, service="checkout")
    tracer.close()
    tracer.record(latency_ms=1.0)
    tracer.outcome("token", "resolved", 1.0)
    with tracer.request(experiment="e", variant="v"):
        pass
    assert tracer.stats.dropped == {"closed": 3}


def test_flush_says_that_it_ran_out_of_time(closed_port: str) -> None:
    tracer = Tracer(closed_port, service="checkout")
    assert tracer.flush(0)
    tracer.record()
    assert not tracer.flush(0.01)
    tracer.close(0)


@pytest.mark.parametrize("setting", [{"linger.mss": 5}, {"linger.ms": "soon"}])
def test_settings_that_the_client_refuses_cost_traces_but_not_the_service(
    setting: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    tracer = Tracer("127.0.0.1:1", service="checkout", producer_config=setting)
    with caplog.at_level(logging.ERROR, logger="stoploss.emit"):
        tracer.record()
        assert tracer.flush(10)
    assert tracer.stats.dropped == {"settings refused": 1}
    assert "the Kafka client refuses its settings" in caplog.text
    tracer.close()


def test_wrong_records_are_counted_with_their_reason_and_said_once(
    closed_port: str, caplog: pytest.LogCaptureFixture
) -> None:
    tracer = Tracer(closed_port, service="checkout")
    with caplog.at_level(logging.WARNING, logger="stoploss.emit"):
        tracer.record(trace_id=5)
        tracer.outcome("nonsense", "resolved", 1.0)
        tracer.outcome(None, "resolved", 1.0)  # type: ignore[arg-type]
        assert tracer.flush(10)
        tracer.close()
    assert tracer.stats.dropped == {"invalid": 3}
    assert tracer.stats.invalid == {
        "trace_id: not of its type": 1,
        "context: not base64 of JSON": 1,
        "context: no token": 1,
    }
    said = [record.getMessage() for record in caplog.records if record.name == "stoploss.emit"]
    assert 1 <= len(said) <= 2
    assert said[-1].startswith("since the start: 3 of 3 records dropped {'invalid': 3}")


def test_a_value_that_raises_when_read_is_counted_by_its_exception(closed_port: str) -> None:
    class Hostile(dict[str, str]):
        def items(self) -> Any:
            raise ZeroDivisionError

    tracer = Tracer(closed_port, service="checkout")
    tracer.record(attributes=Hostile())
    assert tracer.flush(10)
    assert tracer.stats.invalid == {"ZeroDivisionError while encoding": 1}
    tracer.close()


def test_where_no_thread_can_start_the_service_goes_on_and_the_bound_holds(
    closed_port: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    tracer = Tracer(closed_port, service="checkout", queue_size=2)
    for _ in range(5):
        tracer.record()
    assert (tracer.stats.pending, tracer.stats.dropped) == (2, {"queue_full": 3})
    assert "the sending thread cannot start" in caplog.text
    tracer.close()


def test_distinct_reasons_and_assignments_are_bounded(closed_port: str) -> None:
    tracer = Tracer(closed_port, service="checkout", queue_size=1)
    for number in range(1_000):
        tracer.count_invalid(f"reason {number}")
        tracer.count_assignment(Assignment("e", f"v{number}"))
    stats = tracer.stats
    assert (len(stats.invalid), stats.invalid["other"]) == (201, 800)
    assert (len(stats.assignments), stats.assignments["other", "other"]) == (201, 800)
    tracer.close(0)


def test_latency_and_first_token_are_measured_on_the_clock_that_never_jumps(recorder: Recorder, hands: Hands) -> None:
    with recorder.tracer.request(unit_id="u-1", tenant="acme") as request:
        hands.now_s += 0.250
        request.first_token()
        hands.now_s += 0.500
        request.first_token()
        hands.now_s += 0.250
        hands.wall_us -= 3_600_000_000
    (trace,) = recorder.traces
    assert (trace["latency_ms"], trace["time_to_first_token_ms"]) == (1_000.0, 250.0)
    assert trace["at"] == hands.wall_us
    assert (trace["unit_id"], trace["tenant"]) == ("u-1", "acme")


def test_the_services_exception_passes_on_and_is_the_traces_error(recorder: Recorder) -> None:
    with pytest.raises(TimeoutError, match="model"), recorder.tracer.request(experiment="e", variant="v"):
        raise TimeoutError("model")
    with pytest.raises(socket.gaierror), recorder.tracer.request():
        raise socket.gaierror
    assert [trace["error_type"] for trace in recorder.traces] == ["TimeoutError", "socket.gaierror"]


def test_what_the_service_sets_wins_over_what_is_measured(recorder: Recorder) -> None:
    request = recorder.tracer.request()
    request.set(error_type=None, latency_ms=7.0, model="small-1")
    with pytest.raises(KeyError), request:
        raise KeyError
    (trace,) = recorder.traces
    assert (trace["error_type"], trace["latency_ms"], trace["model"]) == (None, 7.0, "small-1")


def test_steps_scores_and_texts_stand_in_order(recorder: Recorder) -> None:
    with recorder.tracer.request() as request:
        request.step("tool", "search", scope="catalog.read", outcome="ok")
        request.step("handoff", "billing", agent="front")
        request.score("helpfulness", 0.8)
        request.text(input="question", output="answer")
    (trace,) = recorder.traces
    assert [step["name"] for step in trace["steps"]] == ["search", "billing"]
    assert trace["scores"] == [{"name": "helpfulness", "value": 0.8}]
    assert (trace["input_text"], trace["output_text"]) == ("question", "answer")


def test_leaving_the_block_twice_sends_one_trace(recorder: Recorder) -> None:
    request = recorder.tracer.request()
    for _ in range(2):
        with request:
            pass
    assert len(recorder.traces) == 1


def details(variant: str | None = "small", **metadata: Any) -> SimpleNamespace:
    return SimpleNamespace(flag_key="checkout-model", value="small-1", variant=variant, flag_metadata=metadata)


@pytest.mark.parametrize(
    ("evaluation", "experiment", "assignment"),
    [
        (details(), None, Assignment("checkout-model", "small")),
        (details(run=3, epoch=7.0), None, Assignment("checkout-model", "small", 3, 7)),
        (details(experiment="e", run=3), None, Assignment("e", "small", 3)),
        (details(experiment="e"), "by-hand", Assignment("by-hand", "small")),
        (details(run=True, epoch="two"), None, Assignment("checkout-model", "small")),
        (details(run=2.5, epoch=None), None, Assignment("checkout-model", "small")),
    ],
)
def test_a_flag_evaluation_gives_the_assignment(
    recorder: Recorder, evaluation: Any, experiment: str | None, assignment: Assignment
) -> None:
    with recorder.tracer.request() as request:
        request.assign_from(evaluation, experiment)
    assert recorder.traces[0]["assignments"] == [assignment]
    assert recorder.tracer.stats.assignments == {(assignment.experiment, "small"): 1}


def test_openfeatures_own_details_are_read() -> None:
    evaluation = FlagEvaluationDetails("checkout-model", "small-1", variant="small", flag_metadata={"run": 1})
    tracer = Tracer("127.0.0.1:1", service="checkout")
    request = tracer.request()
    request.assign_from(evaluation)
    assert from_token(request.context).assignments == (Assignment("checkout-model", "small", 1),)
    tracer.close(0)


@pytest.mark.parametrize(
    ("evaluation", "reason"),
    [
        (details(variant=None), "assignments: the evaluation names no variant"),
        (details(run=float("nan")), None),
        (None, "assignments: not evaluation details"),
        (SimpleNamespace(variant="small", flag_key="f", flag_metadata=None), "assignments: not evaluation details"),
        (details(run=float("inf")), "assignments: not evaluation details"),
    ],
)
def test_an_evaluation_without_a_variant_is_counted_not_raised(
    recorder: Recorder, evaluation: Any, reason: str | None
) -> None:
    with recorder.tracer.request() as request:
        request.assign_from(evaluation)
    assert recorder.traces[0]["assignments"] == []
    assert list(recorder.tracer.stats.invalid) == [reason or "assignments: not evaluation details"]


@pytest.mark.parametrize("wrong", [5, [None], ["e"], Assignment("", "v"), Assignment("e", 7), [("e", "v")]])  # type: ignore[arg-type]
def test_wrong_assignments_are_counted_not_raised(recorder: Recorder, wrong: Any) -> None:
    with recorder.tracer.request(assignments=wrong):
        pass
    assert recorder.traces[0]["assignments"] == []
    assert sum(recorder.tracer.stats.invalid.values()) == 1


def test_an_experiment_without_its_variant_is_counted_not_raised(recorder: Recorder) -> None:
    with recorder.tracer.request(experiment="e"):
        pass
    assert recorder.tracer.stats.invalid == {"assignments: not an Assignment of two names": 1}


def test_the_context_token_holds_what_a_late_outcome_needs(recorder: Recorder) -> None:
    both = [Assignment("e", "v", 1, 2), Assignment("f", "w")]
    with recorder.tracer.request(assignments=both, unit_id="u-1", tenant="acme", language="de") as request:
        request.set(attributes={"region": "eu"})
        context = from_token(request.context)
    assert context.trace_id == recorder.traces[0]["trace_id"]
    assert context.assignments == tuple(both)
    assert (context.unit_id, context.tenant, context.language, context.channel) == ("u-1", "acme", "de", None)
    assert context.attributes == {"region": "eu"}


def test_a_context_that_cannot_be_a_token_is_empty_and_counted(recorder: Recorder) -> None:
    assert recorder.tracer.request(unit_id="u" * 5_000).context == ""
    assert recorder.tracer.request(attributes={"region": object()}).context == ""
    assert recorder.tracer.stats.invalid == {"context: over 4096 characters": 1, "context: a value is no text": 1}


def test_the_log_of_the_kafka_client_says_a_line_of_a_level_once_per_interval() -> None:
    ticks = count(0.0, 4.0)
    once = OncePerInterval(10.0, lambda: next(ticks))
    warning = logging.makeLogRecord({"levelno": logging.WARNING})
    assert [once.filter(warning) for _ in range(7)] == [True, False, False, True, False, False, True]
    assert once.filter(logging.makeLogRecord({"levelno": logging.ERROR}))


def test_the_context_of_a_shadow_run_says_that_it_is_one(recorder: Recorder) -> None:
    """R1"""
    with recorder.tracer.request(experiment="checkout", variant="small", role="shadow") as request:
        assert from_token(request.context).attributes == {"shadow_of": ""}
    named = recorder.tracer.request(role="shadow", attributes={"shadow_of": "t-1"})
    assert from_token(named.context).attributes == {"shadow_of": "t-1"}
