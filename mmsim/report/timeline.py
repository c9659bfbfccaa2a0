"""The timeline of a timed run: one line per step that changed something, in the column of its thread."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from mmsim.report.calls import written
from mmsim.report.steps import LOCKING, shown
from mmsim.report.values import show
from mmsim.trace import Frame

if TYPE_CHECKING:
    from mmsim.timed.result import Result, SystemCall, TimedStep

FOLDED: Final = frozenset({"load", "cond_resched"})
"""Steps that change nothing and cannot fail: shown on request only."""

LEAST_TEXT: Final = 36
"""The last thread's column keeps at least so many characters, or the threads are named in a column of their own."""


def timeline_text(result: Result, width: int = 100, *, all_steps: bool = False) -> str:
    """The run as text of at most `width` columns (where words allow): time in µs, CPU, and what each thread did.

    A system call gets a line of its own, and its steps are indented below it.  Pure loads are left out, and said so at
    the end, unless `all_steps`.
    """
    if not result.timeline:
        return "No timeline was recorded.\n" if result.steps else "Nothing happened.\n"
    layout = _Layout(result, width)
    lines = layout.header()
    shown_steps = [step for step in result.timeline if all_steps or step.word not in FOLDED]
    rows = [(c.start_ns, 1, layout.lines(c.start_ns, None, c.thread, 0, _call(c))) for c in result.system_calls]
    rows += [
        (s.time_ns, 0, layout.lines(s.time_ns, s.cpu, s.thread, 0 if s.call is None else 2, _said(s)))
        for s in shown_steps
    ]
    # A call begins after the step that ended in the same instant; steps of one instant keep their order.
    for _, _, row in sorted(rows, key=lambda item: item[:2]):
        lines += row
    folded = len(result.timeline) - len(shown_steps)
    lines += _ending(result, folded)
    return "\n".join(line.rstrip() for line in lines) + "\n"


class _Layout:
    """Where the columns are."""

    def __init__(self, result: Result, width: int) -> None:
        self._threads = [name for name, _ in result.outcomes]
        self._time = max(len(_us(result.end_ns)), len(_us(result.timeline[-1].time_ns)), len("µs"))
        self._cpu = max(len(str(result.cpus - 1)), len("cpu"))
        self._left = self._time + self._cpu + 4
        longest = max(map(len, self._threads))
        between = (width - self._left - LEAST_TEXT) // max(1, len(self._threads) - 1)
        self._columns = between >= longest + 2
        self._offsets = {
            name: index * min(between, 34) if self._columns else longest + 2 for index, name in enumerate(self._threads)
        }
        self._width = max(width, self._left + max(self._offsets.values()) + LEAST_TEXT // 2)

    def header(self) -> list[str]:
        left = f"{'µs':>{self._time}}  {'cpu':>{self._cpu}}  "
        if not self._columns:
            return [f"{left}thread"]
        names = rule = ""
        for name in self._threads:
            names = names.ljust(self._offsets[name]) + name
            rule = rule.ljust(self._offsets[name]) + "-" * len(name)
        return [left + names, " " * self._left + rule]

    def lines(self, time_ns: float, cpu: int | None, thread: str, indent: int, text: str) -> list[str]:
        left = f"{_us(time_ns):>{self._time}}  {'' if cpu is None else cpu:>{self._cpu}}  "
        offset = self._offsets[thread]
        first = left + ("" if self._columns else thread).ljust(offset) + " " * indent
        rows: list[str] = []
        row = first
        empty = True
        for word in text.split(" "):
            if not empty and len(row) + 1 + len(word) > self._width:
                rows.append(row)
                row, empty = " " * (self._left + offset + indent + 4), True
            row += word if empty else f" {word}"
            empty = False
        return [*rows, row]


def _us(time_ns: float) -> str:
    return f"{time_ns / 1000:.3f}"


def _call(call: SystemCall) -> str:
    text = written(Frame(call.name, "", 0, call.arguments))
    took = "did not return" if call.duration_ns is None else f"{_us(call.duration_ns)} µs"
    return f"{text}  [{took}]"


def _said(step: TimedStep) -> str:
    """`function(): cell old -> new`, and how long it had to wait for that."""
    waited = f" (waited {_us(step.waited_ns)} µs)" if step.waited_ns and step.cpu is not None else ""
    return f"{step.function}(): {_did(step)}{waited}"


def _did(step: TimedStep) -> str:
    if not step.cell:
        return step.word if step.result is None else f"{step.word}: {show(step.result)}"
    if step.word in LOCKING:
        return f"{step.word} {step.cell}"
    if step.old != step.new:
        return f"{step.cell} {shown(step.cell, step.old)} -> {shown(step.cell, step.new)}"
    found = f"{step.word} {step.cell} = {shown(step.cell, step.new)}"
    return f"{found}: {show(step.result)}" if isinstance(step.result, bool) else found


def _ending(result: Result, folded: int) -> list[str]:
    lines = ["", f"{_us(result.end_ns)} µs, {result.steps} steps: {result.ended.value}"]
    lines += [f"{name} returned {show(value)}" for name, value in result.outcomes if not isinstance(value, Enum)]
    lines += [str(blocked) for blocked in result.blocked]
    if result.violation is not None:
        lines.append(": ".join(result.violation))
    if folded:
        lines.append(f"left out: {folded} step{'s' * (folded > 1)} that only looked")
    return lines
