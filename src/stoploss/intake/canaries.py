"""The experiments of the canary as intake knows them: by itself, for nobody registers them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from stoploss.canary import VARIANT, canary_of, is_canary
from stoploss.experiment import Experiment
from stoploss.intake.quantise import Mask
from stoploss.intake.rows import ProjectedRows
from stoploss.intake.watched import Watched

OTHER_VARIANT = "none"


def canaries(partitions: Iterable[int]) -> dict[str, Watched]:
    """The canary's experiment of each ledger partition, by name."""
    return {canary_of(partition): Watched.of(_experiment(canary_of(partition)), partition) for partition in partitions}


def _experiment(name: str) -> Experiment:
    spec = {
        "hypothesis": "What is sent comes out of the ledger.",
        "unit": "workflow",
        "success": {"metric": "error_rate"},
        "assignment": {"flag": name, "control": VARIANT},
        "variants": [{"name": VARIANT}, {"name": OTHER_VARIANT}],
        "rollback": {"to": VARIANT},
    }
    document = {
        "apiVersion": "stoploss/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": name, "owner": "stoploss"},
        "spec": spec,
    }
    return Experiment.model_validate(document)


def without_canaries(stored: Mask, offsets: np.ndarray, rows: Mapping[str, ProjectedRows]) -> Mask:
    """What is stored for people: the canary's traces are for the judge alone."""
    theirs = [part.columns["offset"] for name, part in rows.items() if is_canary(name)]
    if not theirs:
        return stored
    kept: Mask = stored & ~np.isin(offsets, np.concatenate(theirs))
    return kept
