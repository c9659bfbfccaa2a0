"""Percentiles and intervals, against figures from tables and against what they promise: 95 of 100 hold the truth."""

from __future__ import annotations

import math
from random import Random

import pytest

from mmsim.errors import UserError
from mmsim.timed.statistics import Interval, latency, mean_interval, ratio_interval, student


def test_student():
    assert [student(n) for n in (1, 4, 30)] == [12.706, 2.776, 2.042]
    assert student(60) == pytest.approx(2.000, abs=0.001)
    assert student(10**6) == pytest.approx(1.960, abs=0.001)


def test_a_mean_and_its_interval():
    found = mean_interval([1, 2, 3, 4, 5])
    half = 2.776 * math.sqrt(2.5) / math.sqrt(5)
    assert (found.middle, found.low, found.high) == pytest.approx((3, 3 - half, 3 + half))
    assert mean_interval([7]) == Interval(7)


def test_an_interval_does_not_say_that_a_count_may_be_negative():
    assert mean_interval([0, 0, 1]) == Interval(1 / 3, seen=(0, 1))
    assert mean_interval([1, 1, 3]).seen == (1, 3)  # 1.67 - 2.87
    assert mean_interval([-1, 1, 3]).seen is None  # it may be negative, for it was
    rng = Random(5)
    for _ in range(1000):
        found = mean_interval([rng.choice((0, 0, 1, 7)) for _ in range(rng.randrange(2, 9))])
        assert (found.low is None) != (found.seen is None)
        assert found.low is None or found.low >= 0
    below = ratio_interval([1, 100], [100, 1], "x")  # of logarithms, which are negative with good reason
    assert below.low is not None
    assert below.low > 0


def test_a_ratio_and_its_interval():
    found = ratio_interval([2, 4], [1, 2], "x")
    assert (found.middle, found.low, found.high) == pytest.approx((2, 2, 2))  # noise that both share is no noise
    assert ratio_interval([0, 0], [0, 0], "x") == Interval(1.0)
    with pytest.raises(UserError, match="x is 0 in some run, so there is no ratio"):
        ratio_interval([1, 0], [1, 1], "x")


def test_intervals_hold_what_they_promise():
    rng, inside = Random(3), 0
    for _ in range(1000):
        base = [rng.lognormvariate(0, 0.1) for _ in range(5)]
        found = ratio_interval([2 * one * rng.lognormvariate(0, 0.05) for one in base], base, "x")
        inside += found.low <= 2 <= found.high
    assert 930 <= inside <= 970


def test_percentiles_are_durations_that_occurred():
    found = latency(list(range(1000, 0, -1)))
    assert (found.count, found.p50, found.p99, found.p999, found.longest) == (1000, 500, 990, 999, 1000)
    assert latency([5]).p999 == 5
