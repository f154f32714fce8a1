"""X3: which experiments may run at once, by the specs and by the policy; a refusal names who is in the way."""

from __future__ import annotations

import pytest

from stoploss.errors import InvalidExperiment
from stoploss.experiment import Experiment
from stoploss.limits.concurrency import objection
from stoploss.policy.file import parse_policy
from stoploss.policy.model import Policy
from stoploss.spec.file import parse_experiment
from tests.governance.institution import POLICY_TEXT
from tests.timelines import SPEC


def experiment(name: str, *lines: str, owner: str = "search-team", flag: str = "", exclusive: str = "[]") -> Experiment:
    text = SPEC.replace("name: checkout, owner: search-team", f"name: {name}, owner: {owner}, exclusive: {exclusive}")
    text = text.replace("flag: checkout", f"flag: {flag or name}")
    return parse_experiment(text + "".join(f"  {line}\n" for line in lines))


def policy(concurrency: str) -> Policy:
    return parse_policy(f"{POLICY_TEXT}  concurrency: {{{concurrency}}}\n")


A = experiment("a")
B = experiment("b", owner="other-team")


def test_without_a_policy_experiments_on_flags_of_their_own_run_side_by_side() -> None:
    assert objection(A, [B, experiment("c")], None) is None


def test_an_experiment_is_not_in_its_own_way() -> None:
    """X3: a resume after a hold, and a request that is read again after a crash."""
    assert objection(A, [A], policy("total: 1, perTeam: 1, perSurface: 1")) is None


def test_of_an_exclusive_group_one_runs_at_a_time() -> None:
    """X3"""
    one, two = (experiment(name, exclusive="[checkout-page, search-page]") for name in ("one", "two"))
    assert objection(one, [A, two], None) == (
        "two runs, and both are in the exclusive group 'checkout-page'; end it first"
    )
    assert objection(one, [experiment("three", exclusive="[basket-page]")], None) is None


def test_two_experiments_of_one_flag_are_on_the_same_traffic() -> None:
    """X3"""
    assert objection(experiment("again", flag="a"), [A], None) == (
        "a runs on the same traffic (surface a); end it first, keep them apart with `traffic`, or declare it: "
        "overlaps: [a]"
    )


def test_a_flag_that_serves_what_was_rolled_out_serves_no_other_experiment_and_no_limit_counts_it() -> None:
    """X3: a start would take the adopted treatment from its users."""
    again, declared = experiment("again", flag="a"), experiment("again", "overlaps: [a]", flag="a")
    assert objection(again, [], None, [A]) == (
        "the flag 'a' serves the treatment of a, which was rolled out; take another flag, stop a first, or declare "
        "it: overlaps: [a]"
    )
    assert objection(declared, [], None, [A]) is None
    assert objection(B, [], policy("total: 1, perSurface: 1"), [A]) is None
    assert objection(A, [], None, [A]) is None, "it is its own flag"


@pytest.mark.parametrize(
    ("one", "other", "where"),
    [
        ("{surfaces: [page]}", "{surfaces: [page, chat]}", "surface page"),
        ("{surfaces: [page]}", "{surfaces: [chat]}", None),
        ("{surfaces: [page], tenants: [acme]}", "{surfaces: [page]}", "surface page and tenant acme"),
        ("{surfaces: [page], tenants: [acme]}", "{surfaces: [page], tenants: [zeta]}", None),
        (
            "{surfaces: [page], users: {language: [de, fr]}}",
            "{surfaces: [page], users: {language: [de], channel: [app]}}",
            "surface page and language de and channel app",
        ),
        ("{surfaces: [page], users: {language: [de]}}", "{surfaces: [page], users: {language: [fr]}}", None),
    ],
)
def test_experiments_overlap_where_surface_tenant_and_users_all_meet(one: str, other: str, where: str | None) -> None:
    """X3"""
    wanted, runs = experiment("one", f"traffic: {one}"), experiment("two", f"traffic: {other}")
    for first, second in ((wanted, runs), (runs, wanted)):
        why = objection(first, [second], None)
        assert (why is None) == (where is None)
        assert f"on the same traffic ({where})" in (why or f"on the same traffic ({where})")


def test_an_overlap_that_either_declares_is_allowed() -> None:
    """X3"""
    traffic = "traffic: {surfaces: [page]}"
    plain, declared = experiment("one", traffic), experiment("two", traffic, "overlaps: [one]")
    assert objection(declared, [plain], None) is None
    assert objection(plain, [declared], None) is None


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ("total: 3", None),
        ("total: 2", "the policy allows 2 at once, and these run: b, c; end one of them first"),
        ("perTeam: 1", "the policy allows 1 at once of team 'search-team', and these run: c; end one of them first"),
        ("perSurface: 1", None),
        ("perTenant: 3", None),
        ("perTenant: 2", "the policy allows 2 at once on tenant any other, and these run: b, c; end one of them first"),
        ("perSegment: 2", "the policy allows 2 at once on user any other, and these run: b, c; end one of them first"),
    ],
)
def test_no_more_run_at_once_than_the_policy_allows(limits: str, why: str | None) -> None:
    """X3, W4"""
    assert objection(A, [B, experiment("c")], policy(limits)) == why


def test_a_tenant_that_is_full_keeps_out_who_reaches_it_and_nobody_else() -> None:
    """X3: who names no tenant reaches all of them."""
    acme, zeta = (f"traffic: {{tenants: [{name}]}}" for name in ("acme", "zeta"))
    limits = policy("perTenant: 1")
    assert objection(experiment("two", zeta), [experiment("one", acme)], limits) is None
    assert "1 at once on tenant acme, and these run: one;" in (
        objection(experiment("two"), [experiment("one", acme)], limits) or ""
    )
    assert "on tenant acme, and these run: all;" in (
        objection(experiment("two", acme), [experiment("all")], limits) or ""
    )


def test_segments_of_users_are_counted_value_by_value() -> None:
    """X3"""
    german, french = (f"traffic: {{users: {{language: [{name}]}}}}" for name in ("de", "fr"))
    limits = policy("perSegment: 1")
    assert objection(experiment("two", french), [experiment("one", german)], limits) is None
    assert "on language de" in (objection(experiment("two", german), [experiment("one", german)], limits) or "")


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("traffic: {surfaces: []}", "spec.traffic.surfaces"),
        ("traffic: {users: {language: []}}", "spec.traffic.users.language"),
        ("traffic: {place: page}", "spec.traffic.place"),
        ("overlaps: [one]", "spec.overlaps"),
        ("overlaps: [Not A Name]", "spec.overlaps[0]"),
    ],
)
def test_what_a_spec_cannot_say_of_its_traffic_is_named(line: str, field: str) -> None:
    with pytest.raises(InvalidExperiment) as refused:
        experiment("one", line)
    assert [fault.field for fault in refused.value.violations] == [field]


def test_specs_that_say_nothing_of_it_keep_their_hash() -> None:
    """A new field would void the approvals of all that is registered."""
    assert parse_experiment(SPEC).spec_hash == experiment("checkout").spec_hash
    assert experiment("one").spec_hash != experiment("one", "overlaps: [two]").spec_hash
