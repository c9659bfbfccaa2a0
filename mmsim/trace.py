"""What one executed step looks like to a reader: which thread, where in the source, what it did to which cell."""

from __future__ import annotations

from typing import Any

import attrs

from mmsim.steps import Context


@attrs.frozen
class Frame:
    """One function on a thread's stack, outermost first."""

    function: str
    file: str
    """The file's name without its folder (`gup.py`)."""
    line: int
    arguments: tuple[tuple[str, Any], ...] = ()
    """The function's parameters and their values, `self` left out; for the system call's own frame only."""


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
