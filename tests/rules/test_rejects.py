from __future__ import annotations

import numpy as np
import pytest

from stoploss.ledger import RejectCount, SourceStatus
from tests.timelines import SOURCE, Timeline, actions, spec, traces

SPLIT_OFF = "health: {sampleRatio: off}"


class Rejecting:
    """A timeline in which intake counts rejects by variant, as one worker does: cumulative."""

    def __init__(self, extra: str = SPLIT_OFF, share: float = 0.5) -> None:
        self.timeline = Timeline(spec(extra)).started(share)
        self.share, self.total, self.minute = share, [0, 0], 0
        self.status()

    def status(self) -> None:
        counts = tuple(
            RejectCount("checkout", name, n) for name, n in zip(("current", "small"), self.total, strict=True)
        )
        at = self.timeline.at
        self.timeline.append(SourceStatus(SOURCE, 0, 0, 0, sum(self.total), 0, 0, 0, counts, at))

    def minutes(self, rejects: list[tuple[int, int]], rows: int = 1_000) -> None:
        """Each minute so many traces of (control, treatment) are rejected, beside `rows` that are judged."""
        for control, treatment in rejects:
            self.minute += 1
            self.total = [self.total[0] + control, self.total[1] + treatment]
            self.timeline.traces(traces(rows, seed=self.minute, users=50_000, share=self.share), block_rows=rows)
            self.status()
            for _ in range(60):
                self.timeline.at += 1_000_000
                self.timeline.tick()

    @property
    def reasons(self) -> list[str]:
        return [finding.reason for finding in self.timeline.breaches if finding.evidence.rule == "rejects"]


def test_an_arm_that_loses_one_trace_in_a_hundred_more_than_the_other_holds() -> None:
    rejecting = Rejecting()
    rejecting.minutes([(0, 5)] * 8)
    assert rejecting.reasons == ["rejects_differ"]
    [finding] = rejecting.timeline.breaches
    assert (finding.severity, rejecting.timeline.it.lifecycle) == ("hold", "holding")
    assert "1.0 % of the treatment's and 0.0 % of control's" in finding.sentence


def test_it_does_not_matter_which_arm_loses_more() -> None:
    rejecting = Rejecting()
    rejecting.minutes([(6, 0)] * 10)
    assert rejecting.reasons == ["rejects_differ"]


def test_rejects_of_both_arms_alike_hold_nothing() -> None:
    rng = np.random.default_rng(4)
    rejecting = Rejecting()
    rejecting.minutes([(int(a), int(b)) for a, b in rng.poisson(20, (25, 2))])
    assert rejecting.reasons == []


def test_rejects_follow_the_split() -> None:
    """At 90/10 control has nine rejects in ten; that is no difference."""
    rng = np.random.default_rng(5)
    rejecting = Rejecting(share=0.1)
    rejecting.minutes([(int(a), int(b)) for a, b in zip(rng.poisson(36, 20), rng.poisson(4, 20), strict=True)])
    assert rejecting.reasons == []


def test_one_burst_of_one_client_holds_nothing() -> None:
    rejecting = Rejecting()
    rejecting.minutes([(0, 0)] * 3 + [(0, 200)] + [(0, 0)] * 6)
    assert rejecting.reasons == []


def test_bursts_of_either_arm_hold_nothing() -> None:
    """One broken client a minute, of whichever arm, with thirty rejects at once: per reject it would be evidence."""
    rng = np.random.default_rng(6)
    rejecting = Rejecting()
    rejecting.minutes([(30, 0) if rng.random() < 0.5 else (0, 30) for _ in range(30)])
    assert rejecting.reasons == []


def test_what_was_rejected_before_the_run_and_a_worker_that_counts_anew_are_not_held_against_an_arm() -> None:
    rejecting = Rejecting()
    rejecting.total = [0, 10_000]
    rejecting.timeline.state.experiments["checkout"].current.rules["rejects"].told.clear()  # type: ignore[union-attr]
    rejecting.status()
    rejecting.minutes([(1, 1)] * 6)
    rejecting.total = [0, 0]
    rejecting.minutes([(1, 1)] * 6)
    state = rejecting.timeline.it.current.rules["rejects"]
    assert state.all_rejected == [12, 12]  # type: ignore[union-attr]


def test_a_spec_may_pause_or_look_away() -> None:
    for choice, ordered in (("pause", ["set_exposure", "pause"]), ("off", ["set_exposure"])):
        rejecting = Rejecting(f"health: {{sampleRatio: off, rejects: {choice}}}")
        rejecting.minutes([(0, 5)] * 8)
        assert actions(rejecting.timeline) == ordered


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.5, 0.1])
def test_bursts_that_follow_the_split_differ_in_no_more_runs_than_promised(share: float) -> None:
    """Two hours of minutes, each with a Poisson number of broken clients, who lose a geometric number of traces."""
    rule = next(rule for rule in Timeline(spec(SPLIT_OFF)).started().it.rules if rule.kind == "rejects")
    rng, found = np.random.default_rng(11), 0
    for _ in range(400):
        state = rule.initial()
        for _ in range(120):
            clients = rng.poisson(1.0)
            treated, lost = rng.random(clients) < share, rng.geometric(0.1, clients)
            state.kept = rng.multinomial(2_000, [1 - share, share]).tolist()
            state.rejected = [int(lost[~treated].sum()), int(lost[treated].sum())]
            state.ticks = 60
            rule.tick(state, None)  # type: ignore[arg-type]
            if any(verdict.outcome == "breach" for verdict in rule.judge(state, None)):  # type: ignore[arg-type]
                found += 1
                break
    assert found <= 4
