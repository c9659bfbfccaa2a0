"""How long a device takes to answer: distributions of delays in ns, drawn from a given source of randomness."""

from __future__ import annotations

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
