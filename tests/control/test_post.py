from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from stoploss.control.post import Endpoint, Posted
from stoploss.errors import ConfigurationError

from .receiver import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


def test_a_document_arrives_as_json_with_the_headers_given(receiver: Receiver) -> None:
    posted = Endpoint(receiver.url, headers={"Authorization": "Bearer x"}).post({"word": "Größe"})
    assert posted == Posted(True)
    assert receiver.bodies == [{"word": "Größe"}]
    assert receiver.headers[0]["Content-Type"] == "application/json"
    assert receiver.headers[0]["Authorization"] == "Bearer x"


def test_what_may_pass_is_tried_again_with_growing_pauses(receiver: Receiver) -> None:
    receiver.answers = [503, 429]
    pauses: list[float] = []
    endpoint = Endpoint(receiver.url, attempts=3, pause_s=0.5, sleep=pauses.append)
    assert endpoint.post({}) == Posted(True)
    assert pauses == [0.5, 1.0]
    assert len(receiver.bodies) == 3


def test_a_refusal_is_final_and_says_what_was_answered(receiver: Receiver) -> None:
    receiver.answers = [400]
    posted = Endpoint(receiver.url).post({})
    assert not posted.ok
    assert posted.reason.endswith(" answered 400: said no")
    assert len(receiver.bodies) == 1


def test_attempts_are_bounded(receiver: Receiver) -> None:
    receiver.answers = [500] * 9
    posted = Endpoint(receiver.url, attempts=2, pause_s=0.0).post({})
    assert (posted.ok, len(receiver.bodies)) == (False, 2)
    assert "answered 500" in posted.reason


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_is_no_success(receiver: Receiver, status: int) -> None:
    receiver.answers = [status]
    posted = Endpoint(receiver.url).post({})
    assert not posted.ok
    assert f"answered {status}" in posted.reason


def test_nobody_listening_is_a_reason_not_an_exception() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        posted = Endpoint(f"http://127.0.0.1:{port}/hook", attempts=2, pause_s=0.0).post({})
    assert not posted.ok
    assert posted.reason.startswith(f"http://127.0.0.1:{port} did not answer: ")


def test_a_server_that_never_answers_costs_no_more_than_the_timeout_allows() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/hook"
        posted = Endpoint(url, timeout_s=0.05, attempts=2, pause_s=0.0).post({})
    assert not posted.ok
    assert "timed out" in posted.reason


def test_secrets_in_a_webhooks_path_stay_out_of_the_reason(receiver: Receiver) -> None:
    receiver.answers = [404]
    posted = Endpoint(receiver.url + "/T0K3N?key=s3cr3t").post({})
    assert "T0K3N" not in posted.reason
    assert "s3cr3t" not in posted.reason


@pytest.mark.parametrize("url", ["file:///etc/passwd", "alertmanager:9093", "http://", "http://h:0/", "http://hö/", ""])
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError, match="is no address to post alerts to"):
        Endpoint(url)


@pytest.mark.parametrize(
    "url", ["http://ada:s3cr3t@h/hook", "http://ada:s3cr3t@h:9/hook", "http://h/s3cr3t\n", "s3cr3t"]
)
def test_an_address_that_nobody_can_be_asked_at_is_refused_without_its_secret(url: str) -> None:
    """The client would say it in its reason: a password as a port that is no number, a path as one with a space."""
    with pytest.raises(ConfigurationError) as refused:
        Endpoint(url)
    assert "s3cr3t" not in str(refused.value)


def test_no_attempts_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="0 attempts"):
        Endpoint("http://h/", attempts=0)
