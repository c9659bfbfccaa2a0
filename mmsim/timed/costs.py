"""What a step costs: a function of the step and the CPU that runs it, in ns.

A cost model may keep state (which CPU owns which cache line); it is asked once for every attempt at a step, in the
order in which the attempts begin, and never with two runs at once.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import attrs

from mmsim.errors import UserError
from mmsim.steps import Step


class Cost(Protocol):
    """How long a step takes."""

    def __call__(self, step: Step[Any], cpu: int, /) -> float:
        """The duration in ns of one attempt at `step` on CPU number `cpu`; not negative."""
        ...


def checked_duration(value: object, what: str, *, positive: bool = False) -> float:
    """`value` as a duration in ns.  Raises UserError unless it is a finite number, not negative (or `positive`)."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and math.isfinite(value) and (value > 0 if positive else value >= 0):  # type: ignore[operator, arg-type]
        return value  # type: ignore[return-value]
    wanted = "a positive number" if positive else "a number that is not negative"
    msg = f"{what} is {value!r}, but a duration is {wanted} of nanoseconds"
    raise UserError(msg)


def _check_flat(_cost: object, _attribute: object, value: object) -> None:
    checked_duration(value, "the cost of a step", positive=True)


@attrs.frozen
class FlatCost:
    """Every step takes `ns`, whatever it does and wherever it runs.

    Not 0: a loop of steps that take no time would never let the clock go on.
    """

    ns: float = attrs.field(default=10, validator=_check_flat)

    def __call__(self, _step: Step[Any], _cpu: int, /) -> float:
        """`ns`."""
        return self.ns
