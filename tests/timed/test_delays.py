"""Distributions of delays: what they are by their formulas, and what is refused."""

from __future__ import annotations

import math
from random import Random
from statistics import mean, median

import pytest

from mmsim.errors import UserError
from mmsim.timed.delays import Exponential, Fixed, LogNormal, Never, Pareto, Sometimes, Trace
from mmsim.timed.devices import PRESETS, delay_named, device_delay


def drawn(delay, count=20_000):
    rng = Random(1)
    return [delay.draw(rng) for _ in range(count)]


def test_a_lognormal_has_its_median_and_its_spread():
    found = drawn(LogNormal(1e6, 0.5))
    assert median(found) == pytest.approx(1e6, rel=0.02)
    assert mean(found) == pytest.approx(1e6 * math.exp(0.125), rel=0.02)


def test_a_pareto_has_its_least_and_its_tail():
    found = drawn(Pareto(1e6, 1.5))
    assert min(found) >= 1e6
    assert sum(one > 4e6 for one in found) / len(found) == pytest.approx(4**-1.5, rel=0.1)


def test_an_exponential_has_its_mean():
    assert mean(drawn(Exponential(1e6))) == pytest.approx(1e6, rel=0.03)


def test_a_trace_gives_what_was_recorded():
    assert set(drawn(Trace((3, 5, 8)), 100)) == {3, 5, 8}


def test_never_and_sometimes():
    assert drawn(Never(), 3) == [None] * 3
    assert drawn(Sometimes(Fixed(7), 10)).count(None) == pytest.approx(2000, rel=0.1)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (LogNormal, (-1, 0.5)),
        (LogNormal, (1, 0)),
        (LogNormal, (1, math.nan)),
        (Pareto, (1, -2)),
        (Pareto, (math.inf, 2)),
        (Trace, ((),)),
        (Trace, ((1, -2),)),
        (Sometimes, (Fixed(1), 0)),
    ],
)
def test_nonsense_is_refused_in_a_sentence(kind, given):
    with pytest.raises(UserError) as caught:
        kind(*given)
    assert "\n" not in str(caught.value)


def test_delays_as_the_command_line_takes_them(tmp_path):
    path = tmp_path / "delays"
    path.write_text("80us\n\n1.5ms\n700\n")
    assert device_delay("slow=80us") == ("slow", Fixed(80_000))
    assert device_delay("slow=never") == ("slow", Never())
    assert delay_named("100000") == Fixed(100_000)
    assert delay_named("lognormal:80us,0.3") == LogNormal(80_000, 0.3)
    assert delay_named("pareto:1ms,1.5") == Pareto(1e6, 1.5)
    assert delay_named("exponential:2s") == Exponential(2e9)
    assert delay_named(f"trace:{path}") == Trace((80_000, 1_500_000, 700))
    assert all(delay_named(name) is preset.delay and preset.source for name, preset in PRESETS.items())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("slow", "gives no delay"),
        ("slow=", "not understood"),
        ("slow=nvmee", "did you mean nvme"),
        ("slow=lognormal:80us", "write virtio"),
        ("slow=fixed:-3", "-3.0, but a duration"),
        ("slow=trace:/no/such", "cannot be read"),
    ],
)
def test_mistakes(text, said):
    with pytest.raises(UserError, match=said):
        device_delay(text)


def test_a_line_of_a_trace_that_is_no_delay(tmp_path):
    path = tmp_path / "delays"
    path.write_text("80us\nfast\n")
    with pytest.raises(UserError, match=r"line 2 of the trace .* is 'fast'"):
        delay_named(f"trace:{path}")
