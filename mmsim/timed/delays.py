"""How long a device takes to answer: distributions of delays in ns, drawn from a given source of randomness."""

from __future__ import annotations

import math
from random import Random
from typing import Protocol

import attrs

from mmsim.errors import UserError
from mmsim.timed.costs import checked_duration


class Delay(Protocol):
    """A distribution of delays."""

    def draw(self, rng: Random, /) -> float | None:
        """The next delay in ns, or None for a device that never answers."""
        ...


def _check_duration(_delay: object, attribute: attrs.Attribute[float], value: object) -> None:
    checked_duration(value, f"the delay's {attribute.name}")


@attrs.frozen
class Fixed:
    """Always `ns`."""

    ns: float = attrs.field(validator=_check_duration)

    def draw(self, _rng: Random, /) -> float:
        """`ns`."""
        return self.ns


@attrs.frozen
class Exponential:
    """Exponentially distributed around `mean_ns`, in whole ns."""

    mean_ns: float = attrs.field(validator=_check_duration)

    def draw(self, rng: Random, /) -> float:
        """One delay."""
        return round(self.mean_ns * rng.expovariate(1.0))


def _check_positive(_delay: object, attribute: attrs.Attribute[float], value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        msg = f"the delay's {attribute.name} is {value!r}, but it is a positive number"
        raise UserError(msg)


@attrs.frozen
class LogNormal:
    """Log-normally distributed, in whole ns: half of the delays are shorter than `median_ns`.

    `sigma` is the standard deviation of the logarithm: at 0.5 one delay in 40 is longer than 2.7 medians.
    """

    median_ns: float = attrs.field(validator=_check_duration)
    sigma: float = attrs.field(validator=_check_positive)

    def draw(self, rng: Random, /) -> float:
        """One delay."""
        return round(self.median_ns * rng.lognormvariate(0, self.sigma))


@attrs.frozen
class Pareto:
    """Pareto distributed, in whole ns: at least `least_ns`, and longer than x times that with probability x**-alpha.

    At an `alpha` of 1 or less it has no mean: the longer one measures, the longer the longest delay.
    """

    least_ns: float = attrs.field(validator=_check_duration)
    alpha: float = attrs.field(validator=_check_positive)

    def draw(self, rng: Random, /) -> float:
        """One delay."""
        return round(self.least_ns * rng.paretovariate(self.alpha))


def _check_trace(_delay: object, _attribute: object, value: object) -> None:
    if not isinstance(value, tuple) or not value:
        msg = "a recorded trace of delays is empty"
        raise UserError(msg)
    for number, duration in enumerate(value, 1):
        checked_duration(duration, f"delay number {number} of the trace")


@attrs.frozen
class Trace:
    """Delays that were recorded; each draw is any one of them, for their order says nothing about other requests."""

    recorded_ns: tuple[float, ...] = attrs.field(validator=_check_trace)

    def draw(self, rng: Random, /) -> float:
        """One of them."""
        return rng.choice(self.recorded_ns)


@attrs.frozen
class Sometimes:
    """As `usual`, but one request in `one_in` is never answered, and none after it."""

    usual: Delay
    one_in: float = attrs.field(validator=_check_positive)

    def draw(self, rng: Random, /) -> float | None:
        """One delay, or None."""
        return None if rng.random() * self.one_in < 1 else self.usual.draw(rng)


@attrs.frozen
class Never:
    """The device takes the request and stays silent for ever."""

    def draw(self, _rng: Random, /) -> None:
        """None."""
        return


def checked_draw(delay: Delay, rng: Random, device: str) -> float | None:
    """The next delay of `device`.  Raises UserError where the distribution gives none that is a duration."""
    drawn = delay.draw(rng)
    if drawn is not None and not 0 <= drawn < float("inf"):
        msg = f"the delay of device {device} came out as {drawn!r}, but a duration is a number that is not negative"
        raise UserError(msg)
    return drawn
