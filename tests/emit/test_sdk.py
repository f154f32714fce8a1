"""What sits around the tracer: decorator, asyncio, the OpenFeature hook, outcomes by kind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from stoploss.emit import Assignment, Tracer, current, current_request
from stoploss.emit.context import from_token
from stoploss.emit.hook import AssignmentHook
from stoploss.emit.sender import Sender


@pytest.fixture(autouse=True)
def _no_request_of_another_test() -> Iterator[None]:
    """Whoever enters a request and never leaves it, as the abandoned ones of tests do, leaves it to this thread."""
    before = current._current.set(None)
    yield
    current._current.reset(before)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Topic and fields of everything that is handed to the sending thread."""
    found: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(Sender, "offer", lambda self, route, fields: found.append((route.topic, fields)))
    return found


@pytest.fixture
def tracer() -> Iterator[Tracer]:
    made = Tracer("127.0.0.1:1", service="checkout")
    yield made
    made.close(0.0)


Sent = list[tuple[str, dict[str, Any]]]


def traces(sent: Sent) -> list[dict[str, Any]]:
    return [fields for topic, fields in sent if topic == "stoploss.traces"]


def test_a_decorated_function_is_a_request_and_sets_what_differs_inside(tracer: Tracer, sent: Sent) -> None:
    @tracer.traced(experiment="checkout", variant="small")
    def answer(user: str) -> str:
        request = current_request()
        assert request is not None
        request.set(unit_id=user)
        return f"hello {user}"

    assert answer("ada") == "hello ada"
    assert answer.__name__ == "answer"
    (trace,) = traces(sent)
    assert (trace["unit_id"], trace["assignments"]) == ("ada", [Assignment("checkout", "small")])
    assert current_request() is None


def test_an_error_passes_through_the_decorator_and_stands_in_the_trace(tracer: Tracer, sent: Sent) -> None:
    @tracer.traced()
    async def fails() -> None:
        await asyncio.sleep(0)
        raise TimeoutError

    with pytest.raises(TimeoutError):
        asyncio.run(fails())
    assert traces(sent)[0]["error_type"] == "TimeoutError"


def test_a_generator_is_refused_with_what_to_write_instead(tracer: Tracer) -> None:
    def stream() -> Iterator[str]:
        yield "token"

    with pytest.raises(TypeError, match=r"write `with tracer\.request"):
        tracer.traced()(stream)


def test_tasks_at_once_have_each_their_own_request(tracer: Tracer, sent: Sent) -> None:
    @tracer.traced()
    async def answer(user: str, gate: asyncio.Barrier) -> None:
        await gate.wait()
        request = current_request()
        assert request is not None
        request.set(unit_id=user)
        await gate.wait()

    async def both() -> None:
        gate = asyncio.Barrier(2)
        await asyncio.gather(answer("ada", gate), answer("bob", gate))

    asyncio.run(both())
    assert {trace["unit_id"] for trace in traces(sent)} == {"ada", "bob"}


def test_async_with_is_with(tracer: Tracer, sent: Sent) -> None:
    async def handle() -> None:
        async with tracer.request(unit_id="ada") as request:
            assert current_request() is request

    asyncio.run(handle())
    assert traces(sent)[0]["unit_id"] == "ada"


def test_a_request_within_a_request_gives_way_to_the_one_around(tracer: Tracer, sent: Sent) -> None:
    with tracer.request() as outer:
        with tracer.request() as inner:
            assert current_request() is inner
        assert current_request() is outer
        seen: list[object] = []
        thread = threading.Thread(target=lambda: seen.append(current_request()))
        thread.start()
        thread.join()
        assert seen == [None]


def test_a_block_that_is_left_elsewhere_takes_nothing_from_who_is_there(tracer: Tracer, sent: Sent) -> None:
    abandoned = tracer.request()
    with tracer.request() as here:
        asyncio.run(entered(abandoned))
        abandoned.__exit__(None, None, None)
        assert current_request() is here


async def entered(request: Any) -> None:
    request.__enter__()


# ---- OpenFeature -------------------------------------------------------------------------------------

FLAGS = {
    "checkout-model": InMemoryFlag(
        "small",
        {"small": "small", "current": "current"},
        flag_metadata={"experiment": "checkout", "run": 2, "epoch": 3},
    ),
    "banner": InMemoryFlag("on", {"on": "on"}),
    "voice-model": InMemoryFlag(
        "current",
        {"small": "small", "current": "current"},
        flag_metadata={"experiment": "voice", "run": 2, "epoch": 3, "needs_consent": True},
    ),
}


@pytest.fixture
def client() -> Iterator[OpenFeatureClient]:
    domain = "test-hook"
    api.set_provider_and_wait(InMemoryProvider(FLAGS), domain)
    yield api.get_client(domain)
    api.clear_providers()


def asked(client: OpenFeatureClient, *flags: str) -> None:
    for flag in flags:
        client.get_string_value(flag, "default", EvaluationContext("ada"))


def test_an_evaluation_within_a_request_is_its_assignment_once(
    tracer: Tracer, sent: Sent, client: OpenFeatureClient
) -> None:
    client.add_hooks([AssignmentHook()])
    with tracer.request():
        asked(client, "checkout-model", "checkout-model", "banner", "unknown")
    assert traces(sent)[0]["assignments"] == [Assignment("checkout", "small", run=2, epoch=3)]
    assert tracer.stats.assignments == {("checkout", "small"): 1}
    assert not tracer.stats.invalid


def test_a_flag_without_metadata_is_an_experiment_where_the_hook_is_told(
    tracer: Tracer, sent: Sent, client: OpenFeatureClient
) -> None:
    client.add_hooks([AssignmentHook({"banner": "banner-test"})])
    with tracer.request():
        asked(client, "banner")
    assert traces(sent)[0]["assignments"] == [Assignment("banner-test", "on")]


@pytest.mark.parametrize(
    ("context", "consent", "stamp"),
    [
        ({}, None, (0, 0)),
        ({"stoploss_consent": False}, False, (0, 0)),
        ({"stoploss_consent": "true"}, None, (0, 0)),
        ({"stoploss_consent": True}, True, (2, 3)),
    ],
)
def test_an_assignment_says_what_the_evaluation_knew_of_consent_and_without_it_is_no_runs(
    tracer: Tracer,
    sent: Sent,
    client: OpenFeatureClient,
    context: dict[str, bool | str],
    consent: bool | None,
    stamp: tuple[int, int],
) -> None:
    """G3: who did not agree was not assigned by chance, so control is not compared with the treatment by them."""
    client.add_hooks([AssignmentHook()])
    with tracer.request():
        client.get_string_value("voice-model", "default", EvaluationContext("ada", context))
    (found,) = traces(sent)[0]["assignments"]
    assert (found.variant, found.consent, (found.run, found.epoch)) == ("current", consent, stamp)


def test_an_evaluation_outside_of_any_request_is_nobodys(tracer: Tracer, sent: Sent, client: OpenFeatureClient) -> None:
    client.add_hooks([AssignmentHook()])
    asked(client, "checkout-model")
    assert tracer.stats.assignments == {}


# ---- outcomes ----------------------------------------------------------------------------------------


def test_outcomes_carry_their_kind_their_name_and_the_traces_context(tracer: Tracer, sent: Sent) -> None:
    with tracer.request(unit_id="ada", tenant="acme", experiment="checkout", variant="small") as request:
        pass
    later = tracer.outcomes(request.context)
    later.score("helpfulness", 0.8, source="judge:grader@3")
    later.feedback(1.0)
    later.business("resolved", 1.0)
    later.audit("helpfulness", 0.5)
    later.complaint()
    later.escalation()
    facts = [fields for topic, fields in sent if topic == "stoploss.outcomes"]
    assert [(fact["kind"], fact["name"], fact["value"], fact["source"]) for fact in facts] == [
        ("score", "helpfulness", 0.8, "judge:grader@3"),
        ("feedback", "feedback", 1.0, "person"),
        ("business", "resolved", 1.0, "system"),
        ("audit", "helpfulness", 0.5, "person"),
        ("complaint", "complaint", 1.0, "person"),
        ("escalation", "escalation", 1.0, "system"),
    ]
    context = from_token(facts[0]["context"])
    assert (context.unit_id, context.tenant, context.assignments) == ("ada", "acme", (Assignment("checkout", "small"),))


def test_a_job_delivers_before_its_block_ends() -> None:
    with Tracer("127.0.0.1:1", service="nightly", close_timeout_s=0.1) as tracer:
        tracer.record(experiment="x")
    assert tracer.stats.pending == 0

    async def job() -> int:
        async with Tracer("127.0.0.1:1", service="nightly", close_timeout_s=0.1) as made:
            made.record()
        return made.stats.pending

    assert asyncio.run(job()) == 0
