"""Percentiles, and intervals with their confidence: what can be said from so few runs.

    of one figure       the mean, and Student's t over the repeats
    of a ratio          both sides run under the same seeds, so each seed gives one ratio; the geometric mean of
                        those, and Student's t over their logarithms (the delta method on the log scale, paired)

Both take repeats as independent and near enough to normal; percentiles of a heavy tail are not, so their intervals
want more repeats than five.  Where an interval of figures none of which is negative would reach below 0, the repeats
themselves say that they are not: then there is none, and what is told is the range that was seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean, stdev
from typing import Final

import attrs

from mmsim.errors import UserError

CONFIDENCE: Final = 0.95
_T95: Final = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""Student's t at 97.5 % for 1, 2, ... degrees of freedom."""


def student(freedom: int) -> float:
    """Student's t for an interval of 95 %; beyond 30 degrees of freedom by the first terms of its expansion."""
    if freedom <= len(_T95):
        return _T95[freedom - 1]
    z = 1.959964
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


@attrs.frozen
class Interval:
    """A figure, and where it lies with a confidence of 95 %; low and high are None where the runs cannot tell."""

    middle: float
    low: float | None = None
    high: float | None = None
    seen: tuple[float, float] | None = None
    """The least and the most of the runs, where there are several and they cannot tell."""


def mean_interval(values: Sequence[float]) -> Interval:
    """The mean of repeats; the range seen where none is negative but Student's interval would say that one may be."""
    found = _student_interval(values)
    if found.low is not None and found.low < 0 <= min(values):
        return Interval(found.middle, seen=(min(values), max(values)))
    return found


def _student_interval(values: Sequence[float]) -> Interval:
    middle = mean(values)
    if len(values) == 1:
        return Interval(middle)
    half = student(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return Interval(middle, middle - half, middle + half)


def ratio_interval(values: Sequence[float], base: Sequence[float], what: str) -> Interval:
    """The ratio of repeats to those of a baseline under the same seeds.  Raises UserError where it divides by nothing.

    Where both are nothing throughout, they are equal.
    """
    if not any(values) and not any(base):
        return Interval(1.0)
    if not all(value > 0 for value in (*values, *base)):
        msg = f"{what} is 0 in some run, so there is no ratio to the baseline"
        raise UserError(msg)
    logs = [math.log(value / other) for value, other in zip(values, base, strict=True)]
    found = _student_interval(logs)
    low, high = (None if end is None else math.exp(end) for end in (found.low, found.high))
    return Interval(math.exp(found.middle), low, high)


@attrs.frozen
class Latency:
    """How long one kind of operation took, in ns."""

    count: int
    p50: float
    p99: float
    p999: float
    longest: float


def latency(durations: Sequence[float]) -> Latency:
    """The percentiles, by nearest rank: each is a duration that did occur."""
    ordered = sorted(durations)
    p50, p99, p999 = (ordered[math.ceil(len(ordered) * share) - 1] for share in (0.5, 0.99, 0.999))
    return Latency(len(ordered), p50, p99, p999, ordered[-1])
