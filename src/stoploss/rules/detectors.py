"""river's drift detectors with a state that can be saved without pickle: their parameters and their own numbers.

ADWIN (Bifet & Gavaldà, SDM 2007) keeps an adaptive window and needs no scale. PageHinkley (Page, Biometrika 41, 1954)
sums deviations from a running mean; its threshold is in units of the values, so both are fed scaled ones.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

# Windows are few, so ADWIN looks at every fourth and not at every 32nd.
DEFAULTS: dict[str, dict[str, float]] = {
    "ADWIN": {"delta": 0.002, "clock": 4.0},
    "PageHinkley": {"min_instances": 30.0, "delta": 0.005, "threshold": 50.0, "alpha": 0.9999},
}
REAL = frozenset({"delta", "threshold", "alpha"})
SUMS = ("_sum_increase", "_sum_decrease", "_min_increase", "_max_decrease")


def load() -> Any:
    """river's detectors. With them comes most of scipy, a second's work: only who detects drift loads them."""
    from river import drift

    return drift


class Detector:
    """One detector over one stream of finite numbers."""

    PLAIN: ClassVar[Any] = dict[str, str]

    def __init__(self, name: str, params: dict[str, float]) -> None:
        self.name, self.params = name, DEFAULTS[name] | params
        arguments = {key: value if key in REAL else int(value) for key, value in self.params.items()}
        self.river: Any = getattr(load(), name)(**arguments)

    def update(self, value: float) -> bool:
        """Takes the next value; whether the detector fires at it."""
        self.river.update(value)
        return bool(self.river.drift_detected)

    def to_plain(self) -> dict[str, str]:
        params = {f"param {key}": float(value).hex() for key, value in self.params.items()}
        numbers = _adwin_numbers(self.river) if self.name == "ADWIN" else _page_hinkley_numbers(self.river)
        return {"detector": self.name, **params, "drift": str(int(self.river.drift_detected)), **numbers}

    @classmethod
    def from_plain(cls, plain: dict[str, str]) -> Self:
        """Trusts the bytes: the snapshot's MAC vouches for them, for river itself takes corrupt ones silently."""
        params = {key[6:]: float.fromhex(value) for key, value in plain.items() if key.startswith("param ")}
        detector = cls(plain["detector"], params)
        (_set_adwin if detector.name == "ADWIN" else _set_page_hinkley)(detector.river, plain)
        detector.river._drift_detected = plain["drift"] == "1"
        return detector


def _adwin_numbers(adwin: Any) -> dict[str, str]:
    return {"bytes": adwin._helper.__getstate__().hex()}


def _set_adwin(adwin: Any, plain: dict[str, str]) -> None:
    adwin._helper.__setstate__(bytes.fromhex(plain["bytes"]))


def _page_hinkley_numbers(detector: Any) -> dict[str, str]:
    sums = {name: float(getattr(detector, name)).hex() for name in SUMS}
    return {**sums, "n": float(detector._x_mean.n).hex(), "mean": float(detector._x_mean.get()).hex()}


def _set_page_hinkley(detector: Any, plain: dict[str, str]) -> None:
    for name in SUMS:
        setattr(detector, name, float.fromhex(plain[name]))
    n, mean = (float.fromhex(plain[name]) for name in ("n", "mean"))
    detector._x_mean = type(detector._x_mean)._from_state(n, mean)
