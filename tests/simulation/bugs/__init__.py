"""Bugs put in on purpose: each of those that DELIVERY's findings could have brought into this code. The simulation must
find every one of them; a planted bug that nobody finds says that an invariant or a fault is missing.
"""

from __future__ import annotations

from tests.simulation.bugs import intake, judging, ledger, outputs, readers, resolver
from tests.simulation.bugs.planting import Bug

BUGS: dict[str, Bug] = {
    bug.__name__: bug for place in (ledger, intake, resolver, outputs, judging, readers) for bug in place.BUGS
}
