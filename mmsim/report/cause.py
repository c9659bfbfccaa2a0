"""Which steps of an execution made it fail: who had hold of what, who settled what meanwhile, and what came after.

Read off the steps alone, by what they do to counts, to content and to seals; no scenario is known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from mmsim.report.calls import call
from mmsim.report.steps import about_locks, changes, owner
from mmsim.steps import Context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmsim.trace import Execution, TracedStep


@attrs.frozen
class Cause:
    """Positions of steps; None where the execution has no such step."""

    origin: int | None = None
    """The reference that still lay on the written object, or the last thing another thread did to that object."""
    grant: int | None = None
    """What a further thread settled in between."""
    end: int | None = None
    """The change that completes the failure."""

    @property
    def positions(self) -> frozenset[int]:
        """All that there are."""
        return frozenset(position for position in (self.origin, self.grant, self.end) if position is not None)


def cause(execution: Execution) -> Cause:
    """The steps that explain the violation; none where nothing is broken, or no content is."""
    steps = execution.steps
    if execution.violation is None or execution.turn or about_locks(execution):
        return Cause()
    end = last_write(steps)
    if end is None:
        return Cause()
    origin = pin(steps, end)
    if origin is None:
        origin = before(steps, end)
    return Cause(origin, grant(steps, origin, end), end)


def is_count(value: Any) -> bool:
    """Whether a value is a number, and not a truth value or a named constant."""
    return type(value) is int


def is_content(value: Any) -> bool:
    """Whether a value is what user space calls content: bytes, or words of them."""
    if isinstance(value, tuple):
        return bool(value) and all(is_content(item) for item in value)
    return isinstance(value, bytes)


def is_pin(step: TracedStep) -> bool:
    """Whether the step takes a reference: a count of the object goes up."""
    return (
        changes(step) and is_count(step.old) and is_count(step.new) and "refcount" in step.cell and step.new > step.old
    )


def last_write(steps: Sequence[TracedStep]) -> int | None:
    """The change that completes the failure: of content where any changed, else the last change of all."""
    changed = [position for position, step in enumerate(steps) if changes(step)]
    content = [position for position in changed if is_content(steps[position].new) and is_content(steps[position].old)]
    return max(content or changed, default=None)


def pin(steps: Sequence[TracedStep], end: int) -> int | None:
    """The latest reference on the written object that had not been dropped when it was written.

    Which reference a drop gives back is not written on it.  One taken and dropped in the same system call was that
    call's own; an interrupt drops what was taken for it; any other drop is taken to be of an older reference.
    """
    taken: list[int] = []
    for position, step in enumerate(steps[:end]):
        if owner(step.cell) != owner(steps[end].cell) or not changes(step) or "refcount" not in step.cell:
            continue
        if is_pin(step):
            taken.append(position)
            continue
        own = [mine for mine in taken if steps[mine].thread == step.thread and call(steps[mine]).key == call(step).key]
        if step.context is not Context.TASK and not own:
            own = taken
        if own:
            taken.remove(own[-1])
    return taken[-1] if taken else None


def before(steps: Sequence[TracedStep], end: int) -> int | None:
    """The last change that another thread made to the written object."""
    for position in range(end - 1, -1, -1):
        step = steps[position]
        if changes(step) and owner(step.cell) == owner(steps[end].cell) and step.thread != steps[end].thread:
            return position
    return None


def grant(steps: Sequence[TracedStep], origin: int | None, end: int) -> int | None:
    """What a third party settled between the two: its last change that was not undone; a seal before all else."""
    start = 0 if origin is None else origin + 1
    parties = {steps[end].thread} if origin is None else {steps[end].thread, steps[origin].thread}
    candidates = [
        position
        for position in range(start, end)
        if changes(steps[position]) and steps[position].thread not in parties and stays(steps, position, end)
    ]
    seals = [position for position in candidates if "seal" in steps[position].cell]
    return max(seals or candidates, default=None)


def stays(steps: Sequence[TracedStep], position: int, end: int) -> bool:
    """Whether what a step changed is still so at the end."""
    later = [step for step in steps[position + 1 : end] if step.cell == steps[position].cell]
    return not later or bool(later[-1].new != steps[position].old)
