"""The demo's cast: three experiments on the same traffic, and what is done to each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stoploss.experiment import Experiment
from stoploss.resources import data_path
from stoploss.spec.file import parse_experiment


@dataclass(frozen=True, slots=True)
class Part:
    """One experiment.

    file   its spec, below examples/demo
    harm   name in simulate.harm.HARMS
    after  share of the traffic's time after which the harm begins
    story  what happens, in a sentence
    """

    file: str
    harm: str
    after: float
    story: str

    @property
    def path(self) -> Path:
        return data_path("examples", "demo", self.file)

    @property
    def text(self) -> str:
        return self.path.read_text()

    @property
    def experiment(self) -> Experiment:
        return parse_experiment(self.text, self.file)


CAST = (
    Part("support-agent-prompt.yaml", "gate", 0.1, "answers begin to repeat payment card numbers"),
    Part("checkout-agent-model.yaml", "slow-regression", 0.3, "becomes 1.4 times as slow, one in twenty fails"),
    Part("answer-style-aa.yaml", "aa", 0.0, "nothing: both variants are alike"),
)
HEADLINE = CAST[0]
"""The part whose first harmful trace is enough: the report's seconds are its."""
