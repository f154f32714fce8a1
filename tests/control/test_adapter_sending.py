"""How requests go out: attempts, ids, signatures, rates, secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog

from stoploss.commands import AckStatus, Segment
from stoploss.control.adapter.actuator import HttpAdapter, NotTaken, Time
from stoploss.control.adapter.parsing import parse_adapter, recipes
from stoploss.control.adapter.signed import verify
from stoploss.control.controller import Controller
from stoploss.control.credentials import Authority
from stoploss.control.position import PositionFile
from stoploss.embedded.ports import LOOPBACK
from stoploss.errors import CommandRefused, ConfigurationError

from .orders import NOW, order, rollback
from .site import Site
from .vendor import Said, Vendor, serving

PLAIN = """
apiVersion: stoploss/v1alpha1
kind: Adapter
name: gateway
variables: {{receiver: "{url}"}}
secrets: {{token: {{env: GATEWAY_TOKEN}}}}
{more}
requests:
  - method: PUT
    url: ${{receiver}}/flags/${{flag}}
    headers: {{Authorization: "Bearer ${{token}}"}}
    body: {{share: "${{treatment_share}}", why: "${{reason}}"}}
"""
TOKEN = "s3cr3t-token"


@dataclass
class Clock:
    now_s: float = 1_700_000_000.0
    slept_s: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now_s += seconds

    @property
    def time(self) -> Time:
        return Time(lambda: self.now_s, lambda: self.now_s, self.sleep)


@dataclass
class Gateway:
    vendor: Vendor
    clock: Clock = field(default_factory=Clock)

    def adapter(self, more: str = "") -> HttpAdapter:
        return HttpAdapter(parse_adapter(PLAIN.format(url=self.vendor.url, more=more)), time=self.clock.time)

    def answers(self, *statuses: int) -> None:
        self.vendor.answers = [Said(status) for status in statuses]


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    monkeypatch.setenv("GATEWAY_TOKEN", TOKEN)
    with serving(Vendor()) as vendor:
        yield Gateway(vendor)


def test_it_is_tried_again_with_the_same_id_until_a_2xx_comes(gateway: Gateway) -> None:
    gateway.answers(503, 429, 204)
    gateway.adapter().apply(rollback())
    assert [asked.headers["idempotency-key"] for asked in gateway.vendor.asked] == ["c-1-2-1"] * 3
    assert gateway.clock.slept_s == [1.0, 2.0]


def test_a_vendor_that_says_how_long_is_left_alone_so_long_but_not_for_ever(gateway: Gateway) -> None:
    gateway.vendor.answers = [Said(429, {"Retry-After": "4"}), Said(429, {"Retry-After": "3600"})]
    gateway.adapter().apply(rollback())
    assert gateway.clock.slept_s == [4.0, 5.0]


@pytest.mark.parametrize("status", [400, 401, 404, 409])
def test_a_refusal_is_final(gateway: Gateway, status: int) -> None:
    gateway.answers(status, 200)
    with pytest.raises(NotTaken, match=f"answered {status}"):
        gateway.adapter().apply(rollback())
    assert len(gateway.vendor.asked) == 1


def test_a_status_that_the_adapter_names_is_tried_again(gateway: Gateway) -> None:
    gateway.answers(409, 200)
    gateway.adapter("retry: {statuses: [409]}").apply(rollback())
    assert len(gateway.vendor.asked) == 2


def test_a_redirect_is_no_success(gateway: Gateway) -> None:
    gateway.vendor.answers = [Said(302, {"Location": "/elsewhere"})]
    with pytest.raises(NotTaken, match="answered 302"):
        gateway.adapter().apply(rollback())


def test_nobody_there_is_not_applied(gateway: Gateway) -> None:
    gateway.vendor.url = "http://127.0.0.1:1"
    with pytest.raises(NotTaken, match=r"^http://127.0.0.1:1 did not answer: "):
        gateway.adapter().apply(rollback())
    assert gateway.clock.slept_s == [1.0, 2.0]


def test_a_secret_stands_in_the_request_and_nowhere_else(gateway: Gateway) -> None:
    gateway.vendor.answers = [Said(400, text=f"you sent Bearer {TOKEN}")]
    adapter = gateway.adapter()
    with structlog.testing.capture_logs() as logged, pytest.raises(NotTaken) as refused:
        adapter.apply(rollback())
    adapter.apply(rollback())
    assert gateway.vendor.asked[-1].headers["authorization"] == f"Bearer {TOKEN}"
    assert "you sent Bearer <token>" in str(refused.value)
    assert TOKEN not in f"{logged}{adapter.describe(rollback())}"


def test_a_secret_that_is_not_there_is_told_at_the_start(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATEWAY_TOKEN")
    with pytest.raises(ConfigurationError, match="secret 'token' is not in the environment variable GATEWAY_TOKEN"):
        gateway.adapter()


def test_a_secret_in_a_file_may_change_while_the_controller_runs(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first\n")
    text = PLAIN.format(url=gateway.vendor.url, more="").replace("env: GATEWAY_TOKEN", f"file: {tmp_path / 'token'}")
    adapter = HttpAdapter(parse_adapter(text))
    adapter.apply(rollback())
    (tmp_path / "token").write_text("second\n")
    adapter.apply(rollback())
    assert [asked.headers["authorization"] for asked in gateway.vendor.asked] == ["Bearer first", "Bearer second"]


def test_raises_wait_for_the_rate_and_what_takes_away_does_not(gateway: Gateway) -> None:
    adapter = gateway.adapter("rate: {requests: 1, per: 60s}")
    adapter.apply(order(sequence=1))
    gateway.clock.now_s += 20
    with pytest.raises(CommandRefused, match="there is room in 40 s"):
        adapter.apply(order(sequence=2))
    adapter.apply(rollback(3))
    gateway.clock.now_s += 61
    adapter.apply(order(sequence=4))
    assert len(gateway.vendor.asked) == 3


def test_a_vendor_with_a_certificate_of_its_own_is_believed_by_its_file_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GATEWAY_TOKEN", TOKEN)
    authority = Authority.new("an authority made by a test")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    (tmp_path / "identity.pem").write_bytes(authority.identity([LOOPBACK]))
    with serving(Vendor(), tmp_path / "identity.pem") as vendor:
        gateway = Gateway(vendor)
        gateway.adapter(f"caFile: {tmp_path / 'ca.pem'}").apply(rollback())
        assert len(vendor.asked) == 1
        with pytest.raises(NotTaken, match="CERTIFICATE_VERIFY_FAILED"):
            gateway.adapter().apply(rollback())
    with pytest.raises(ConfigurationError, match=r"certificates in /nowhere/ca\.pem cannot be read"):
        Gateway(Vendor(url="https://x")).adapter("caFile: /nowhere/ca.pem")


def test_a_text_of_the_command_cannot_become_structure(gateway: Gateway) -> None:
    gateway.adapter().apply(rollback(flag="a/b?c", experiment="x"))
    gateway.adapter().apply(order(reason='", "share": 1, "x": "${token}'))
    first, second = gateway.vendor.asked
    assert first.path == "/flags/a%2Fb%3Fc"
    assert second.body == {"share": 0.1, "why": '", "share": 1, "x": "${token}'}


def obeying(gateway: Gateway, site: Site) -> None:
    """A controller with the adapter behind it."""
    site.controller = Controller(
        name="gateway",
        instance="a",
        actuator=gateway.adapter(),
        verifier=site.verifier,
        positions=PositionFile(site.positions),
        clock=lambda: site.now,
        listed_only=True,
    )


def test_a_controller_acks_applied_only_after_a_2xx(gateway: Gateway, site: Site) -> None:
    obeying(gateway, site)
    gateway.answers(500, 500, 500)
    rejected = site.send(rollback(controllers=("gateway",)))[1]
    assert (rejected.status, "answered 500" in rejected.reason) == (AckStatus.REJECTED, True)
    assert site.send(rollback(controllers=("gateway",)))[1].status is AckStatus.APPLIED


def test_commands_that_ask_other_controllers_are_passed_over(gateway: Gateway, site: Site) -> None:
    obeying(gateway, site)
    assert site.send(rollback(controllers=("flagd",))) == []
    assert gateway.vendor.asked == []


SEGMENT = (Segment("tenant", "acme"),)


@dataclass(frozen=True, slots=True)
class SignedHook:
    vendor: Vendor
    adapter: HttpAdapter
    secret: str
    clock: Clock


@pytest.fixture(params=["plain text of a secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
def hook(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[SignedHook]:
    monkeypatch.setenv("STOPLOSS_WEBHOOK_SECRET", request.param)
    clock = Clock()
    with serving(Vendor()) as vendor:
        text = recipes()["webhook"].read_text().replace("https://gateway.example.com", vendor.url)
        yield SignedHook(vendor, HttpAdapter(parse_adapter(text), time=clock.time), request.param, clock)


def test_a_signed_webhook_carries_the_whole_desired_state_and_verifies(hook: SignedHook) -> None:
    hook.adapter.apply(order(exposure=0.05, stopped_segments=SEGMENT))
    (asked,) = hook.vendor.asked
    assert verify(asked.headers, asked.content, hook.secret, hook.clock.now_s) == "c-1-1-1"
    said: Any = asked.body
    assert (said["exposure"], said["stopped_segments"]) == (0.05, [{"dimension": "tenant", "value": "acme"}])
    assert (said["id"], said["run"], said["sequence"], said["action"]) == ("c-1-1", 1, 1, "set_exposure")


def test_each_attempt_has_the_same_id_and_a_timestamp_and_signature_of_its_own(hook: SignedHook) -> None:
    hook.vendor.answers = [Said(500)]
    hook.adapter.apply(rollback())
    first, second = hook.vendor.asked
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == "c-1-2-1"
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    assert verify(second.headers, second.content, hook.secret, hook.clock.now_s) == "c-1-2-1"


def test_what_was_changed_forged_or_is_old_does_not_verify(hook: SignedHook) -> None:
    hook.adapter.apply(rollback())
    (asked,) = hook.vendor.asked
    changed = json.dumps({**asked.body, "exposure": 1}).encode()
    for content, secret, now_s in (
        (changed, hook.secret, hook.clock.now_s),
        (asked.content, "another", hook.clock.now_s),
        (asked.content, hook.secret, hook.clock.now_s + 301),
    ):
        with pytest.raises(CommandRefused):
            verify(asked.headers, content, secret, now_s)
    with pytest.raises(CommandRefused, match="timestamp"):
        verify({}, asked.content, hook.secret, NOW / 1e6)


def test_a_signature_is_the_one_of_the_standards_own_example() -> None:
    """Standard Webhooks, "Signature scheme": the example that its libraries are tested with."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    assert verify(headers, body, secret, 1_614_265_330) == "msg_p5jXN8AQM9LWM0D4loKWxJek"
