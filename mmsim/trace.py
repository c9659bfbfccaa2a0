"""What one executed step looks like to a reader: which thread, where in the source, what it did to which cell."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Final

import attrs

from mmsim.steps import Context
from mmsim.syscalls import Syscalls

SYSTEM_CALLS: Final = frozenset(name for name, value in vars(Syscalls).items() if inspect.iscoroutinefunction(value))


@attrs.frozen
class Frame:
    """One function on a thread's stack, outermost first."""

    function: str
    file: str
    """The file's name without its folder (`gup.py`)."""
    line: int
    arguments: tuple[tuple[str, Any], ...] = ()
    """The function's parameters and their values, `self` left out; for the system call's own frame only."""


def system_call(frames: Sequence[Frame]) -> int | None:
    """Where on a stack the system call's own frame is; None for the code of a device or of an interrupt."""
    for depth, frame in enumerate(frames):
        if frame.function in SYSTEM_CALLS and (depth or len(frames) == 1 or frame.arguments):
            return depth
    return None


def call_key(frames: Sequence[Frame], depth: int) -> tuple[object, ...]:
    """What tells one system call of a thread from another; equal for the steps of one call."""
    frame = frames[depth]
    before = tuple((outer.function, outer.line) for outer in frames[:depth])
    return (*before, frame.function, repr(frame.arguments))


@attrs.frozen
class TracedStep:
    """One step of an execution."""

    thread: str
    context: Context
    frames: tuple[Frame, ...]
    word: str
    """The step's word: `load`, `inc_not_zero`, `lock`, ..."""
    cell: str
    """The cell's name, or '' for a step that acts on none."""
    old: Any
    new: Any
    result: Any
    alternative: int
    alternatives: int
    """How many alternatives there were, and which was taken."""


@attrs.frozen
class Execution:
    """A schedule as it was carried out."""

    steps: tuple[TracedStep, ...]
    outcomes: tuple[tuple[str, Any], ...]
    """What each thread returned, WAITING, or RUNNING."""
    violation: tuple[str, str] | None
    """The property broken by the last step or at its end (name, detail), or None."""
    turn: int = 0
    """Of a livelock: how many of the last steps are once round the loop that nobody gets out of."""
