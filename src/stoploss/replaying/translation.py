"""Evidence that was projected for one spec, as it would have been for another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stoploss.evidence import PACKED
from stoploss.experiment import Experiment
from stoploss.ledger import EvidenceBlock


def translated(block: EvidenceBlock, in_force: str, other: Experiment) -> EvidenceBlock:
    """A block with the other spec's hash and gate bits.

    in_force  hash of the recorded spec; a block of yet another spec was not judged, and gets a hash that none has
    """
    names = tuple(choice.gate for choice in other.gates)
    spec_hash = other.spec_hash if block.spec_hash == in_force else ""
    if block.gate_names == names:
        return replace(block, spec_hash=spec_hash)
    gates, details = _gates(block, names)
    return replace(block, spec_hash=spec_hash, gates=gates, gate_names=names, gate_details=details)


def _gates(block: EvidenceBlock, names: tuple[str, ...]) -> tuple[bytes, tuple[str, ...]]:
    """Each bit moves to the place of its name; what the other spec does not look for is gone, with its detail."""
    before = np.frombuffer(block.gates, PACKED["gates"])
    after = np.zeros_like(before)
    for bit, name in enumerate(block.gate_names):
        if name in names:
            after |= ((before >> np.uint32(bit)) & np.uint32(1)) << np.uint32(names.index(name))
    kept = (after[before != 0] != 0).tolist()
    details = tuple(detail for detail, keep in zip(block.gate_details, kept, strict=True) if keep)
    return after.tobytes(), details
