"""Approvals (G2, A4): by domain, with conditions that are enforced, and an end; nobody approves their own."""

from __future__ import annotations

from stoploss.commands import Segment
from stoploss.governance.record import DailyWindow
from tests.governance.institution import POLICY_TEXT, House, edited
from tests.timelines import SPEC, spec

TOOLS = ("{name: small, model: small-1, tools: [{name: search, scopes: [catalog.read]}]}",)
WITH_REFUNDS = (
    TOOLS[0],
    "{name: small, model: small-1, tools: [{name: search, scopes: [catalog.read]}, {name: refund, sideEffect: true}]}",
)


def test_without_a_policy_a_start_needs_no_approval() -> None:
    house = House(SPEC, policy=None)
    house.ask("register")
    assert house.ask("start") is None


def test_a_start_needs_the_approvals_of_its_class_of_risk() -> None:
    """G2"""
    house = House().approved("product")
    assert house.lifecycle == "registered"
    assert house.ask("start") == "it is not approved: privacy has not approved"
    assert house.ask("approve", by="pia", domain="privacy") is None
    assert house.lifecycle == "approved"
    assert house.ask("start") is None


def test_an_author_never_approves_their_own() -> None:
    """G2"""
    house = House().approved()
    why = house.ask("approve", by="ada", domain="product")
    assert why is not None
    assert why.startswith("ada is an author of the spec, and nobody approves or rejects their own")


def test_who_amended_it_is_an_author_too() -> None:
    house = House().approved()
    house.timeline.spec_text = edited(("as good", "as good or better"))
    assert house.ask("amend", by="bob", reason="clearer") is None
    assert "bob is an author" in (house.ask("approve", by="bob", domain="product") or "")


def test_an_approval_needs_a_reason() -> None:
    house = House().approved()
    assert house.ask("approve", by="pia", domain="privacy", reason=" ") == (
        "approve needs a reason; give one with --reason"
    )


def test_two_domains_of_one_person_are_not_two_people() -> None:
    text = edited(("spec:\n  hypothesis", "spec:\n  approvals: {required: 2, from: [product, privacy]}\n  hypothesis"))
    house = House(text).approved()
    for domain in ("product", "privacy"):
        assert house.ask("approve", by="pia", domain=domain) is None
    assert house.ask("start") == "it is not approved: 1 of 2 people have approved"


def test_a_rejection_stands_in_the_way_until_the_same_person_approves() -> None:
    house = House().approved("product", "privacy")
    assert house.ask("reject", by="pia", domain="privacy", reason="the retention is too long") is None
    assert house.lifecycle == "registered"
    assert house.ask("start") == ("it is not approved: pia has rejected it for privacy: the retention is too long")
    house.ask("approve", by="pia", domain="privacy")
    assert house.ask("start") is None


def test_more_traffic_than_is_approved_is_refused() -> None:
    """G2"""
    house = House().approved("product").approved("product", "privacy", largest_exposure=0.1)
    assert house.ask("start", exposure=0.2) == "0.2 of the traffic is more than is approved: at most 0.1"
    assert house.ask("start", exposure=0.1) is None
    assert house.ask("ramp", exposure=0.11) == "0.11 of the traffic is more than is approved: at most 0.1"


def test_the_class_of_risk_limits_exposure_whatever_approvers_allow() -> None:
    house = House().approved("product", "privacy")
    assert house.ask("start", exposure=0.6) == "0.6 of the traffic is more than is approved: at most 0.5"


def test_conditions_hold_without_a_policy_too() -> None:
    house = House(SPEC, policy=None).approved("product", largest_exposure=0.1)
    assert house.ask("start") == "0.5 of the traffic is more than is approved: at most 0.1"


def test_an_approval_ends_and_says_so() -> None:
    """G2"""
    house = House().approved("product").approved("product", "privacy", valid_for="2d")
    assert house.ask("start") is None
    house.ask("pause")
    house.days(2)
    assert house.ask("resume") == (
        "it is not approved: product has not approved (the approval of product-owner has expired); "
        "privacy has not approved (the approval of privacy-owner has expired)"
    )
    for domain in ("product", "privacy"):
        house.ask("approve", by="pia", domain=domain)
    assert house.ask("resume") is None


def test_stopping_needs_no_approval_whatever_has_expired() -> None:
    house = House().approved("product", "privacy", valid_for="1d")
    house.ask("start")
    house.days(400)
    assert house.ask("stop") is None


def test_exposure_is_raised_inside_the_approved_hours_only() -> None:
    """G2: 16:13 in Berlin is inside, an hour later is not."""
    hours = {"days": "Mon-Fri", "from": "09:00", "to": "17:00", "timezone": "Europe/Berlin"}
    house = House().approved("product", "privacy", window=hours)
    assert house.timeline.it.governance.approvals[0].window == DailyWindow("Mon-Fri", "09:00", "17:00", "Europe/Berlin")
    house.days(1 / 24)
    assert house.ask("start") == "the approval holds inside Mon-Fri 09:00 to 17:00 Europe/Berlin only"
    house.days(23 / 24)
    assert house.ask("start") is None


def test_a_segment_that_approvers_leave_out_gets_control_only() -> None:
    """G2"""
    out = [{"dimension": "tenant", "value": "acme"}]
    house = House(spec("segments: [tenant]", edited())).approved("product", "privacy", excluded=out)
    house.ask("start")
    assert house.timeline.commands[-1].stopped_segments == (Segment("tenant", "acme"),)
    house.ask("pause")
    house.ask("resume")
    assert house.timeline.commands[-1].stopped_segments == (Segment("tenant", "acme"),)


def test_only_a_declared_segment_can_be_left_out() -> None:
    house = House().approved()
    out = [{"dimension": "tenant", "value": "acme"}]
    assert house.ask("approve", by="pia", domain="privacy", excluded=out) == (
        "tenant=acme cannot be left out: the spec's segments are none"
    )


def test_a_tool_that_control_lacks_needs_security() -> None:
    """A4"""
    house = House(edited(WITH_REFUNDS, ("unit: model", "unit: model\n  factors: [model, workflow]")))
    house.approved("product", "privacy")
    assert house.ask("start") == "it is not approved: security has not approved"
    house.ask("approve", by="sam", domain="security")
    assert house.ask("start") is None


def test_material_impact_needs_a_statement() -> None:
    """G3"""
    house = House(edited(("unit: model", "unit: model\n  userImpact: material"))).approved("product", "privacy")
    assert house.ask("start") == (
        "it has material impact on users, and no approver has stated on it; approve it with --statement"
    )
    house.ask("approve", by="eve", domain="ethics", statement="Nobody loses access to what they have paid for.")
    assert house.ask("start") is None


def test_the_journal_keeps_the_terms_of_an_approval() -> None:
    """G4"""
    house = House().approved()
    house.ask("approve", by="pia", domain="privacy", reason="small enough", largest_exposure=0.1, valid_for="7d")
    assert house.last_words == "for privacy, up to 0.1 of the traffic, for 7 days: small enough"


def test_the_registry_shows_who_has_approved_and_until_when() -> None:
    house = House().approved("product", valid_for="1d")
    (approval,) = house.timeline.registry()[-1].approvals
    assert (approval.domain, approval.by, approval.granted) == ("product", "product-owner", True)
    assert approval.expires_at == house.timeline.at + 86_400_000_000


def test_a_body_that_cannot_be_read_is_refused_with_its_field() -> None:
    house = House().approved()
    house.timeline.ask("approve", by="pia", reason="yes", body='{"domain": "finance"}')
    assert "domain: Input should be 'product', 'privacy', 'security' or 'ethics'" in house.last_words
    house.timeline.ask("start", by="pia", body="{}")
    assert house.last_words == "start carries nothing but a reason; send it without a body"


def test_what_a_policy_asks_today_counts_and_not_what_it_asked_at_the_registration() -> None:
    house = House().approved("product", "privacy")
    house.put_in_force(
        edited(
            ("{product: 1, privacy: 1}, largestExposure", "{product: 1, ethics: 1}, largestExposure"), text=POLICY_TEXT
        ),
        "uuid/0/7",
    )
    assert house.ask("start") == "it is not approved: ethics has not approved"
