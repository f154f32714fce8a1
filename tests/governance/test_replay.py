"""People's decisions are a fold of the ledger: a snapshot, a replay and an archive keep them to the byte."""

from __future__ import annotations

from stoploss import ledger, snapshot
from stoploss.archive.writing import is_needed
from stoploss.ledger import Request
from stoploss.monitor import step
from stoploss.state import PartitionState
from tests.governance.institution import SPEC_TEXT, House, edited
from tests.timelines import SECRET, bytes_of, refolded, spec, stored


def story() -> House:
    """Policy, approvals with terms, an amendment that voids them, approvals again, a dry run, a start, a decision."""
    hours = {"days": "Mon-Fri", "from": "09:00", "to": "17:00", "timezone": "Europe/Berlin"}
    house = House(spec("segments: [tenant]", SPEC_TEXT)).approved(
        "product", "privacy", window=hours, valid_for="30d", largest_exposure=0.2
    )
    house.timeline.spec_text = edited(("worthwhile: 0.01", "worthwhile: 0.02"), text=house.timeline.spec_text)
    house.ask("amend", reason="the board said so")
    house.ask("start")
    for domain in ("product", "privacy"):
        assert (
            house.ask("approve", by="pia", domain=domain, excluded=[{"dimension": "tenant", "value": "acme"}]) is None
        )
    house.ask("rehearse", by="olga")
    house.timeline.ack("flagd")
    house.ask("start")
    house.timeline.seconds(12)
    house.ask("stop")
    house.ask("complete", decision="iterate", lesson="ask earlier")
    assert house.lifecycle == "completed"
    return house


def test_a_replay_decides_as_was_decided() -> None:
    house = story()
    assert bytes_of(refolded(house.timeline.entries)) == bytes_of(house.timeline.outputs)


def test_a_judge_that_is_restored_at_any_entry_goes_on_as_if_nothing_had_been() -> None:
    entries = story().timeline.entries
    for cut in range(0, len(entries), 5):
        state = PartitionState(0)
        for entry in entries[:cut]:
            step(state, entry)
        again = snapshot.load(PartitionState, stored(state), SECRET)
        rest = [bytes_of(step(state, entry)) for entry in entries[cut:]]
        assert [bytes_of(step(again, entry)) for entry in entries[cut:]] == rest


def test_an_archive_of_an_experiment_keeps_the_policy_that_it_was_judged_by() -> None:
    entries = story().timeline.entries
    policies = [entry for entry in entries if isinstance(entry.fact, Request) and entry.fact.action == "policy"]
    assert len(policies) == 1
    assert all(is_needed(ledger.encode(entry.fact), "checkout") for entry in policies)
