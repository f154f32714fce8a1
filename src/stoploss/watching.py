"""What the monitor's own part in the ledger says: canaries that came through, and what services counted themselves."""

from __future__ import annotations

import numpy as np

from stoploss.evidence import Columns
from stoploss.leases import Lease, LeasedRun
from stoploss.ledger import EvidenceBlock
from stoploss.lifecycle import LIVE
from stoploss.outputs import Outputs
from stoploss.state import PartitionState


def canary(state: PartitionState, block: EvidenceBlock, columns: Columns, out: Outputs) -> None:
    """The canary came through: every run has heard it, and those that are watched get their lease; repeats are none."""
    heard = False
    for code, source in enumerate(block.sources):
        offsets = columns.offset[columns.source == code]
        if not offsets.size or (newest := int(np.max(offsets))) <= state.canaries.get(source.key, -1):
            continue
        heard, state.canaries[source.key], state.canary_topic = True, newest, source.topic
        for experiment in state.experiments.values():
            experiment.current.sight.hear_canary(f"{source.topic}/{source.partition}")
    if heard:
        _lease(state, out)


def _lease(state: PartitionState, out: Outputs) -> None:
    watched = [one for one in state.experiments.values() if one.lifecycle in LIVE]
    if watched:
        runs = tuple(LeasedRun(one.name, one.run) for one in watched)
        out.lease(Lease(state.partition, out.offset, runs, out.at))
