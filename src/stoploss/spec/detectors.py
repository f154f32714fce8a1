"""Which drift detectors a spec may name, and why the others are refused."""

from __future__ import annotations

DETECTORS = ("ADWIN", "PageHinkley")

# Measured with river 0.26: false alarms per million steady values; delays over 100 runs for shifts of 0.5, 1 and 2 sd.
REFUSED = {
    "KSWIN": "on steady values it gives a false alarm every 784 of them",
    "DDM": "after a clean start the first error alarms: 6.5 false alarms in the first 10,000 values",
    "EDDM": "after a clean start the first errors alarm: 2.3 false alarms in the first 10,000 values",
    "FHDDM": "it missed 100 of 100 shifts of half and of one standard deviation",
    "HDDM_A": "it wants values within 0 and 1, bounds no rate of false alarms, and needs 1,792 values for half a sd",
    "HDDM_W": "it missed 100 of 100 shifts of half, and 97 of 100 of one standard deviation",
}


def check_detector(name: str) -> str:
    """Raises ValueError with the measured reason.

    >>> check_detector("ADWIN")
    'ADWIN'
    """
    if name not in DETECTORS:
        why = REFUSED.get(name, "no such detector is known here")
        raise ValueError(f"{name!r} is refused: {why}; use {' or '.join(DETECTORS)}")
    return name
