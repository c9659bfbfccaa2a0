"""What every driver of the model is given: threads that can be started, and the cells' first values."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import attrs

from mmsim.cells import Cell, World
from mmsim.steps import Context


@attrs.frozen
class Thread:
    """One thread of a machine.  `start()` makes a fresh coroutine; every one of them behaves alike."""

    name: str
    """Never ends in a digit, so that a schedule can write `reader7`; copies are named `user[0]`, `user[1]`, ..."""
    start: Callable[[], Coroutine[Any, Any, object]]
    context: Context = Context.TASK
    silent: bool = False
    """Whether it may stop for ever between any two steps, as a device may that never answers."""


@attrs.frozen
class Machine:
    """A booted machine: the world after setup, and the threads about to run."""

    world: World
    threads: tuple[Thread, ...]
    initial: Mapping[Cell[Any], Any] = attrs.field(factory=dict)
    """Values that setup changed; any other cell holds its `initial`."""
    copies: tuple[tuple[str, ...], ...] = ()
    """Groups of interchangeable names (`("user[0]", "user[1]")`): renaming one to another changes nothing."""
