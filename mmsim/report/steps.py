"""Which steps of an execution a reader needs, and how one step is said."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import attrs

from mmsim.report.calls import FLAGS, flags
from mmsim.report.values import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmsim.trace import Execution, TracedStep

LOCKING: Final = frozenset({"lock", "lock_irqsave", "lock_shared", "unlock", "unlock_shared", "downgrade"})
LONGEST: Final = 44
"""How many characters of a value are printed."""
SHORT: Final = 26
"""The same of one item of a list."""
RELEASING: Final = frozenset({"unlock", "unlock_shared"})


def changes(step: TracedStep) -> bool:
    """Whether the step changed its cell; taking a lock is no change that anybody asks about."""
    return bool(step.cell) and step.word not in LOCKING and bool(step.old != step.new)


def owner(cell: str) -> str:
    """The kernel object a cell belongs to: `page1` of `page1.data`."""
    return cell.rpartition(".")[0]


def field(cell: str) -> str:
    """The cell's name within its object: `data` of `page1.data`."""
    return cell.rpartition(".")[2]


def says_enough(name: str) -> bool:
    """Whether a field is told by its own name: `i_mmap_writable` is, `data` and `_refcount` are every page's."""
    return name == "seals" or ("_" in name and not name.startswith("_"))


class Names:
    """Cells by their shortest name that is not ambiguous in one execution: `i_mmap_writable`, but `page1.data`."""

    def __init__(self, steps: Sequence[TracedStep]) -> None:
        by_field: defaultdict[str, set[str]] = defaultdict(set)
        for step in steps:
            by_field[field(step.cell)].add(step.cell)
        self._alone = {name for name, cells in by_field.items() if len(cells) == 1 and says_enough(name)}

    def of(self, cell: str) -> str:
        """The name to print for a cell.  A field keeps its owner unless its own name says enough."""
        return field(cell) if field(cell) in self._alone else cell

    def change(self, step: TracedStep) -> str:
        """`cell old -> new`; of a list that grows or shrinks, alone or in a record, what it gains or loses."""
        old, new = list_that_changed(step.old, step.new)
        if isinstance(old, tuple) and isinstance(new, tuple):
            for word, fewer, more in (("gains", old, new), ("loses", new, old)):
                others = [item for item in more if item not in fewer]
                if len(others) == 1 and len(more) == len(fewer) + 1:
                    return f"{self.of(step.cell)} {word} {brief(show(others[0]), SHORT)}"
        return f"{self.of(step.cell)} {shown(step.cell, step.old)} -> {shown(step.cell, step.new)}"


def list_that_changed(old: Any, new: Any) -> tuple[Any, Any]:
    """The innermost place in which two records, or lists of equal length, differ: as far as there is only one."""
    if type(old) is type(new) and (attrs.has(type(old)) or (isinstance(old, tuple) and len(old) == len(new))):
        pairs = list(zip(*map(parts, (old, new)), strict=True))
        differing = [pair for pair in pairs if pair[0] != pair[1]]
        if len(differing) == 1:
            return list_that_changed(*differing[0])
    return old, new


def parts(value: Any) -> tuple[Any, ...]:
    """The items of a list, the fields of a record."""
    if isinstance(value, tuple):
        return value
    return tuple(getattr(value, each.name) for each in attrs.fields(type(value)))


def shown(cell: str, value: Any) -> str:
    """A cell's value as its field's readers know it."""
    if field(cell) == "seals" and isinstance(value, int):
        return flags(value, FLAGS["add_seals", "seals"])
    return brief(show(value))


def brief(text: str, longest: int = LONGEST) -> str:
    """A value's text, cut where a line of a mail could not hold it."""
    if len(text) <= longest:
        return text
    head, comma, _ = text[:longest].rpartition(", ")
    return f"{head if comma else text[: longest - 3]}...{')' if text.endswith(')') else ''}"


def said(step: TracedStep, names: Names) -> str:
    """One step in words: what it did to its cell, or what it found there."""
    chosen = f" (alternative {step.alternative} of {step.alternatives})" if step.alternatives > 1 else ""
    if not step.cell:
        return f"{step.word}{chosen}"
    if step.word in LOCKING:
        return f"{step.word} {names.of(step.cell)}"
    if changes(step):
        return f"{names.change(step)}{chosen}"
    found = f"{names.of(step.cell)} = {shown(step.cell, step.new)}"
    return f"{found}{chosen}" if step.word == "load" else f"{step.word} {found}{chosen}"


def about_locks(execution: Execution) -> bool:
    """Whether it is locks that went wrong; the engine's names for that."""
    return execution.violation is not None and execution.violation[0] in {
        "no deadlock",
        "no lock inversion",
        "no sleeping in atomic context",
    }


def held(steps: Sequence[TracedStep]) -> list[int]:
    """The positions of the steps that took a lock which is still held at the end."""
    holders: dict[tuple[str, str], int] = {}
    for position, step in enumerate(steps):
        if step.word in RELEASING:
            holders.pop((step.thread, step.cell), None)
        elif step.word in LOCKING:
            holders[step.thread, step.cell] = position
    return sorted(holders.values())
