"""Why an execution breaks a property, as an argument: let ..., then ..., however ...

Everything is read off the steps.  The *however* is the last change of content (or, where no content changed, the last
change of all); the *let* is the reference that still lay on that object then, or else the last thing that another
thread did to it; the *then* is what a further thread settled in between, and what it looked at before it did.  An
execution that has no such shape yields no argument.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from mmsim.report.calls import call
from mmsim.report.cause import cause, is_count, is_pin
from mmsim.report.steps import LOCKING, Names, about_locks, changes, held, shown
from mmsim.steps import Context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmsim.trace import Execution, TracedStep

WIDTH: Final = 72


def argument(execution: Execution, *, width: int = WIDTH) -> str:
    """The argument as a paragraph, or '' where the steps show none."""
    steps, names = execution.steps, Names(execution.steps)
    if execution.violation is None:
        return ""
    if execution.turn:
        return textwrap.fill(round_and_round(steps[-execution.turn :]), width)
    if about_locks(execution):
        return textwrap.fill(holders(steps, names), width) if execution.violation[0] == "no deadlock" else ""
    why = cause(execution)
    if why.origin is None or why.end is None:
        return ""
    parts = [f"Let {deed(steps[why.origin], names, let=True)};"]
    if why.grant is not None:
        parts.append(f"then {deed(steps[why.grant], names)}{looked_at(steps, why.grant, names)};")
    so_far = "that reference is still held when " if is_pin(steps[why.origin]) else ""
    parts.append(f"however {so_far}{deed(steps[why.end], names)}.")
    if seen := contradiction(steps, why.end, names):
        parts.append(seen)
    return textwrap.fill(" ".join(parts), width, break_long_words=False, break_on_hyphens=False)


def round_and_round(turn: Sequence[TracedStep]) -> str:
    """For a livelock: what its last steps are."""
    who = " and ".join(dict.fromkeys(step.thread for step in turn))
    last = "The last step leaves" if len(turn) == 1 else f"The last {len(turn)} steps, by {who}, leave"
    return f"{last} everything as it was before; whatever anybody does from there on, nobody ever comes to rest."


def place(step: TracedStep) -> str:
    """` [mmap.py:88]`."""
    return f" [{step.frames[-1].file}:{step.frames[-1].line}]" if step.frames else ""


def deed(step: TracedStep, names: Names, *, let: bool = False) -> str:
    """`reader lowers i_mmap_writable 1 -> 0 in munmap() [mmap.py:88]`."""
    context = "" if step.context is Context.TASK else f" ({step.context.value})"
    does = verb(step) if let else f"{verb(step)}s"
    return f"{step.thread}{context} {does} {names.change(step)} in {call(step).text}{place(step)}"


def verb(step: TracedStep) -> str:
    """What was done to the cell: raised, lowered or set."""
    if is_count(step.old) and is_count(step.new) and "seal" not in step.cell:
        return "raise" if step.new > step.old else "lower"
    return "set"


def looked_at(steps: Sequence[TracedStep], granted: int, names: Names) -> str:
    """What the granting thread relied on: the last cell it looked at that somebody else had left so."""
    thread = steps[granted].thread
    for position in range(granted - 1, -1, -1):
        step = steps[position]
        if step.thread != thread or not step.cell or step.word in LOCKING:
            continue
        left = next((s for s in reversed(steps[:position]) if s.cell == step.cell and changes(s)), None)
        if left is not None and left.thread != thread:
            value = shown(step.cell, step.old)
            return f", having found {names.of(step.cell)} at {value} as {left.thread} left it in {call(left).text}"
    return ""


def contradiction(steps: Sequence[TracedStep], end: int, names: Names) -> str:
    """Where one thread read the content before and after: both readings."""
    cell = steps[end].cell
    for thread in dict.fromkeys(step.thread for step in steps[end + 1 :]):
        reads = [(p, s) for p, s in enumerate(steps) if s.thread == thread and s.cell == cell and s.word == "load"]
        earlier = [s for p, s in reads if p < end]
        later = [s for p, s in reads if p > end]
        if earlier and later and earlier[-1].result != later[-1].result:
            old, new = shown(cell, earlier[-1].result), shown(cell, later[-1].result)
            return f"So {thread} reads {names.of(cell)} twice and finds {old}, then {new}: a contradiction!"
    return ""


def holders(steps: Sequence[TracedStep], names: Names) -> str:
    """For a deadlock: who holds which lock at the end."""
    told = [
        f"{step.thread} hold {names.of(step.cell)}, taken in {call(step).text}{place(step)}"
        for step in (steps[position] for position in held(steps))
    ]
    return f"Let {'; and let '.join(told)}; however each waits for another." if len(told) > 1 else ""
