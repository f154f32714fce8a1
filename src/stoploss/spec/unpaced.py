"""A spec without what paces a run by the clock: for judges of recorded requests, who follow the recorded exposure."""

from __future__ import annotations

import json

from stoploss.spec.file import parse_experiment

PACING = ("windows", "freezes", "safeShare")
OF_THE_RAMP = ("autoAdvance", "until", "extend", "then", "watch")


def unpaced(text: str) -> str:
    """The same spec without windows, freezes and a ramp that goes on by itself; where it has none, the same text."""
    tree = parse_experiment(text).model_dump(mode="json", by_alias=True, exclude_unset=True)
    spec = tree["spec"]
    ramp = spec.get("ramp", {})
    if not any(name in spec for name in PACING) and not any(name in ramp for name in OF_THE_RAMP):
        return text
    for part, names in ((spec, PACING), (ramp, OF_THE_RAMP)):
        for name in names:
            part.pop(name, None)
    return json.dumps(tree, ensure_ascii=False)
