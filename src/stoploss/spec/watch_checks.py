"""What the spec's drift watches and health checks must satisfy: each fault names the field, the value, the way out."""

from __future__ import annotations

from collections.abc import Iterator

from stoploss import metrics
from stoploss.experiment import CROSS, Experiment, others_in
from stoploss.spec.health import DriftWatch

Fault = tuple[tuple[str | int, ...], str]

ADWIN_COUNTS = ("clock", "max_buckets", "min_window_length", "grace_period")
PAGE_HINKLEY = ("min_instances", "delta", "threshold", "alpha")


def watch_faults(experiment: Experiment) -> Iterator[Fault]:
    for index, watch in enumerate(experiment.spec.drift):
        for path, message in _watch(watch):
            yield ("spec", "drift", index, *path), message
    yield from _twice(experiment)
    yield from _health(experiment)


def _watch(watch: DriftWatch) -> Iterator[Fault]:
    if watch.mix is not None:
        if any(not part.strip() for part in watch.mix.split(CROSS)):
            yield ("mix",), f"{watch.mix!r} is no dimension; write an attribute such as language"
        if others_in(watch.mix):
            yield (
                ("mix",),
                f"{watch.mix!r} moves whenever the other experiment is ramped or stopped; use it in segments",
            )
        return
    fault_of = _adwin_fault if watch.detector == "ADWIN" else _page_hinkley_fault
    for name, value in watch.params.items():
        if fault := fault_of(name, value):
            yield ("params", name), fault


def _adwin_fault(name: str, value: float) -> str | None:
    """What is wrong with a parameter, or None."""
    if name == "delta":
        return None if 0 < value < 1 else f"{value:g} is no confidence; give a number between 0 and 1, such as 0.002"
    if name not in ADWIN_COUNTS:
        return f"ADWIN has no parameter {name!r}; it has delta, {', '.join(ADWIN_COUNTS)}"
    return _count_fault(value)


def _page_hinkley_fault(name: str, value: float) -> str | None:
    """What is wrong with a parameter, or None; delta and threshold are in standard deviations of a window's mean."""
    if name not in PAGE_HINKLEY:
        return f"PageHinkley has no parameter {name!r}; it has {', '.join(PAGE_HINKLEY)}"
    if name == "min_instances":
        return _count_fault(value)
    if name == "alpha":
        return None if 0 < value <= 1 else f"{value:g} forgets nothing or all; give a number above 0 and up to 1"
    if name == "threshold":
        return None if 0 < value <= 1e6 else f"{value:g} is no threshold; give a number above 0, such as 50"
    return None if 0 <= value <= 1e3 else f"{value:g} is no tolerated shift; give 0 or more, such as 0.005"


def _count_fault(value: float) -> str | None:
    if value != int(value) or not 1 <= value <= 1_000_000:
        return f"{value:g} is no count; give a whole number from 1 to 1,000,000"
    return None


def _twice(experiment: Experiment) -> Iterator[Fault]:
    mixes = [watch.mix for watch in experiment.spec.drift]
    for index, mix in enumerate(mixes):
        if mix is not None and mix in mixes[:index]:
            yield ("spec", "drift", index, "mix"), f"the mix of {mix!r} is watched twice; keep one"


def _health(experiment: Experiment) -> Iterator[Fault]:
    health = experiment.spec.health
    if health.sample_ratio == "off" and health.over_exposure == "act":
        yield (
            ("spec", "health", "overExposure"),
            "'act' rests on the split, and sampleRatio: off says that it is not to be believed; drop one of the two",
        )
    if health.alignment is not None and health.alignment.proxy == health.alignment.outcome:
        yield (
            ("spec", "health", "alignment", "outcome"),
            f"{health.alignment.outcome!r} is the proxy itself; name the business outcome that it stands for",
        )
    parts = (("coverage", health.coverage), ("judgeReference", health.judge_reference), ("audit", health.audit))
    for name, part in parts:
        if part is not None and part.score in metrics.METRICS:
            yield (
                ("spec", "health", name, "score"),
                f"{part.score!r} is measured on every trace; name a score that arrives by itself",
            )
