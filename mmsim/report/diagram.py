"""The race diagram of kernel changelogs: one column per CPU, time downwards, ready to paste into a mail.

      reader (CPU0)                     sealer (CPU1)
      -------------                     -------------
      munmap()
        i_mmap_writable 1 -> 0  [mmap.py:88]
                                        fcntl(F_ADD_SEALS, F_SEAL_WRITE)
                                          seals 0 -> F_SEAL_WRITE  [memfd.py:70]

Each row belongs to one thread, so columns may start before their neighbour's longest row ends; that is how two
columns with file names fit into 72.  An interrupt is drawn on the CPU of a thread that does nothing meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

import attrs

from mmsim.report.calls import call
from mmsim.report.cause import cause
from mmsim.report.steps import LOCKING, RELEASING, Names, about_locks, changes, held, said
from mmsim.steps import Context

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmsim.trace import Execution, TracedStep

WIDTH: Final = 72
MARGIN: Final = 2
GAP: Final = 2


@attrs.frozen
class Row:
    """One line of one column."""

    column: int
    text: str
    location: str = ""

    @property
    def width(self) -> int:
        """What it takes to print it all."""
        return len(self.text) + (GAP + len(self.location) if self.location else 0)


def diagram(execution: Execution, *, all_steps: bool = False, width: int = WIDTH) -> str:
    """The execution drawn in columns; with `all_steps`, nothing is folded away."""
    steps = execution.steps
    if not steps:
        return ""
    columns = place(steps)
    rows = draw(steps, range(len(steps)) if all_steps else telling(execution), columns)
    return "\n".join(lay_out(rows, headers(steps, columns), execution.violation, width))


def place(steps: Sequence[TracedStep]) -> dict[str, int]:
    """The column of each thread: tasks in the order in which they come, interrupts on an idle task's CPU."""
    tasks = list(dict.fromkeys(step.thread for step in steps if step.context is Context.TASK))
    columns = {thread: column for column, thread in enumerate(tasks)}
    for thread in dict.fromkeys(step.thread for step in steps):
        if thread not in columns:
            hosts = [task for task in tasks if idle(steps, task, thread)]
            columns[thread] = columns[hosts[0]] if hosts else 1 + max(columns.values(), default=-1)
    return columns


def idle(steps: Sequence[TracedStep], task: str, interrupt: str) -> bool:
    """Whether `task` does nothing while `interrupt` runs, and has its interrupts on when that begins."""
    positions = [position for position, step in enumerate(steps) if step.thread == interrupt]
    first, last = positions[0], positions[-1]
    off = {step.cell for step in steps[:first] if step.thread == task and step.word == "lock_irqsave"}
    for step in steps[:first]:
        if step.thread == task and step.word == "unlock":
            off.discard(step.cell)
    return not off and all(step.thread != task for step in steps[first : last + 1])


def headers(steps: Sequence[TracedStep], columns: Mapping[str, int]) -> list[str]:
    """`reader (CPU0)`, one per column."""
    titles: dict[int, str] = {}
    for thread, column in columns.items():
        titles.setdefault(column, thread)
    return [f"{titles[column]} (CPU{column})" for column in sorted(titles)] if steps else []


def telling(execution: Execution) -> list[int]:
    """The positions of the steps that matter.

    Those are the ones that explain the failure, changes of what more than one thread looks at, free choices, and looks
    at what another thread has left.  Locks, steps that left their cell as the thread knew it, and a thread's own
    bookkeeping are left out, but for the very last step where it may be the one that broke the property, and for once
    round the loop of a livelock.  Where nothing is broken, every change is shown.
    """
    steps = execution.steps
    users: defaultdict[str, set[str]] = defaultdict(set)
    for step in steps:
        users[step.cell].add(step.thread)
    last = len(steps) - 1
    told = cause(execution).positions | news(steps)
    if about_locks(execution):
        told |= frozenset(held(steps))
    told |= frozenset(range(len(steps) - execution.turn, len(steps)))

    def matters(position: int, step: TracedStep) -> bool:
        if position in told or step.alternatives > 1:
            return True
        if position == last and execution.violation is not None and step.word not in RELEASING:
            return True
        return changes(step) and (execution.violation is None or len(users[step.cell]) > 1)

    return [position for position, step in enumerate(steps) if matters(position, step)]


def news(steps: Sequence[TracedStep]) -> frozenset[int]:
    """Looks at a cell that another thread has changed since this one saw it last, and the look before that."""
    writer: dict[str, str] = {}
    looks: dict[tuple[str, str], int] = {}
    fresh: set[int] = set()
    for position, step in enumerate(steps):
        if not step.cell or step.word in LOCKING or step.word.startswith("wait"):
            continue
        before = looks.get((step.thread, step.cell))
        if changes(step):
            writer[step.cell] = step.thread
        elif writer.get(step.cell, step.thread) != step.thread:
            if before is None:
                fresh.add(position)
            elif steps[before].new != step.new:
                fresh |= {before, position}
        looks[step.thread, step.cell] = position
    return frozenset(fresh)


def draw(steps: Sequence[TracedStep], shown: Sequence[int], columns: Mapping[str, int]) -> list[Row]:
    """The rows, top to bottom: a call where it begins, under it the steps that are shown."""
    names = Names(steps)
    wanted = frozenset(shown)
    in_column: dict[int, tuple[str, object]] = {}
    begun: dict[str, object] = {}
    rows: list[Row] = []
    for position, step in enumerate(steps):
        column, this = columns[step.thread], call(step)
        mark = "" if step.context is Context.TASK else f"  [{step.context.value}]"
        if begun.get(step.thread) != this.key and (step.context is Context.TASK or position in wanted):
            begun[step.thread] = this.key
            in_column[column] = (step.thread, this.key)
            rows.append(Row(column, f"{this.text}{mark}"))
        if position in wanted:
            if in_column.get(column) != (step.thread, this.key):
                in_column[column] = (step.thread, this.key)
                rows.append(Row(column, f"{this.text}{mark}  (goes on)"))
            where = step.frames[-1] if step.frames else None
            rows.append(Row(column, f"  {said(step, names)}", f"[{where.file}:{where.line}]" if where else ""))
    return rows


def lay_out(rows: Sequence[Row], titles: Sequence[str], violation: tuple[str, str] | None, width: int) -> list[str]:
    """Rows as lines of text, the last one marked with the property that it breaks."""
    full = [
        min(max((row.width for row in rows if row.column == column), default=0), width) for column in range(len(titles))
    ]
    starts = offsets(titles, full, width)
    placed = [row for row in rows if row.location and starts[row.column] + row.width <= width]
    located = [max((row.width for row in placed if row.column == at), default=0) for at in range(len(titles))]
    lines = [
        "".join(f"{title:<{start}}" for title, start in _padded(titles, starts)),
        "".join(f"{'-' * len(title):<{start}}" for title, start in _padded(titles, starts)),
    ]
    lines = [" " * MARGIN + line for line in lines]
    for row in rows:
        start = starts[row.column]
        room = located[row.column] - len(row.location)
        text = f"{row.text}  ".ljust(room) + row.location  # a row that is too long for a mail has its place at its end
        lines.append(" " * start + text)
    if violation is not None and rows:
        mark = f"<- {violation[0]}"
        if len(lines[-1]) + GAP + len(mark) <= width:
            lines[-1] += " " * GAP + mark
        else:
            lines.append(" " * min(starts[rows[-1].column] + 2, max(MARGIN, width - len(mark))) + mark)
    return [line.rstrip() for line in lines]


def _padded(titles: Sequence[str], starts: Sequence[int]) -> list[tuple[str, int]]:
    """Each title with the width of its field in the header line; the last one has no field to fill."""
    ends = [*starts[1:], starts[-1]]
    return [(title, max(0, end - start)) for title, start, end in zip(titles, starts, ends, strict=True)]


def offsets(titles: Sequence[str], full: Sequence[int], width: int) -> list[int]:
    """Where each column starts: side by side where they fit, else overlapping, but never over a neighbour's title."""
    starts = [MARGIN]
    for column in range(1, len(titles)):
        beside = starts[-1] + full[column - 1] + GAP
        latest = width - max(full[column:]) - sum(len(title) + GAP for title in titles[column + 1 :])
        starts.append(max(starts[-1] + len(titles[column - 1]) + GAP, min(beside, latest)))
    return starts
