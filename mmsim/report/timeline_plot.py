"""An execution as a picture: who runs, what is mapped, sealed and under way, what pages hold, and the counts.

Everything is drawn over the steps of the schedule (or over simulated time, where there is a clock): threads with their
system calls at the top, below them a bar for everything that is there for a while, and at the bottom a line for each
count.  A cell's value before its first step is what that step found there.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any, Final

import attrs

from mmsim.errors import UserError
from mmsim.report.calls import call, written
from mmsim.report.plots import Picture, new_figure
from mmsim.report.steps import LOCKING, Names, brief, changes, field, owner, shown
from mmsim.report.values import show
from mmsim.trace import Frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmsim.timed.result import Result
    from mmsim.trace import Execution

WIDTH: Final = 11.0
MARGIN: Final = 1.14
"""How much wider than the time the axes are."""
LANE: Final = 0.34
"""Inches for a thread, a bar or (times 3) a count."""
CHARACTER: Final = 0.075
"""Inches that a letter of a bar's text takes, about."""
COUNTS: Final = frozenset({"_refcount", "_mapcount", "i_mmap_writable"})
PAGE: Final = re.compile(r"\.page\[\d+\]$")
COLOURS: Final = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#72b7b2", "#eeca3b", "#9d755d", "#bab0ac")
MADE: Final = {"seal": "#e45756", "mapping": "#72b7b2", "PTE": "#a0cbe8", "request": "#eeca3b", "flag": "#bab0ac"}
"""What a bar is, and its colour; content has a colour for each value."""


@attrs.frozen
class Segment:
    """A value that lasts for a while; times in steps, or in µs."""

    start: float
    end: float
    value: Any
    text: str = ""


@attrs.frozen
class Event:
    """One step, over whichever kind of time."""

    start: float
    end: float
    thread: str
    call: str
    word: str
    cell: str
    old: Any
    new: Any


def of_execution(execution: Execution, title: str = "") -> Picture:
    """A schedule that was carried out, step by step.  Raises UserError where it has no step, or without matplotlib."""
    steps = execution.steps
    events = [
        Event(at, at + 1, one.thread, call(one).text, one.word, one.cell, one.old, one.new)
        for at, one in enumerate(steps)
    ]
    broken = execution.violation
    # the mark is on the step that breaks a property; one that outcomes show is broken at the very end
    mark = None if broken is None else (len(steps) - (0.5 if changes(steps[-1]) else 0), broken[0]) if steps else None
    return _drawn(events, Names(steps), title, "step", mark)


def of_result(result: Result, title: str = "") -> Picture:
    """A timed run.  Raises UserError where no timeline was recorded, or without matplotlib."""
    calls = result.system_calls
    events = [
        Event(
            (one.time_ns - DONE_NS) / 1000,
            one.time_ns / 1000,
            one.thread,
            f"{one.function}()"
            if one.call is None
            else written(Frame(calls[one.call].name, "", 0, calls[one.call].arguments)),
            one.word,
            one.cell,
            one.old,
            one.new,
        )
        for one in result.timeline
    ]
    mark = None if result.violation is None else (result.end_ns / 1000, result.violation[0])
    return _drawn(events, Names(()), title, "simulated time, µs", mark)


DONE_NS: Final = 10.0
"""A step of a timed run is an instant; it is drawn as if it had taken so long."""


def histories(events: Sequence[Event], end: float) -> dict[str, list[Segment]]:
    """Every cell that was acted on, with what it held from the start to the end."""
    found: dict[str, list[Segment]] = {}
    begun: dict[str, tuple[float, Any]] = {}
    for one in events:
        if not one.cell or one.word in LOCKING:
            continue
        since, held = begun.setdefault(one.cell, (0.0, one.old))
        if one.new != held:
            at = (one.start + one.end) / 2
            found.setdefault(one.cell, []).append(Segment(since, at, held))
            begun[one.cell] = at, one.new
    for cell, (since, held) in begun.items():
        found.setdefault(cell, []).append(Segment(since, end, held))
    return found


def runs(events: Sequence[Event]) -> dict[str, list[Segment]]:
    """For each thread, in the order in which they first run: the stretches in which it ran, with the call it made."""
    found: dict[str, list[Segment]] = {}
    for _, some in itertools.groupby(events, key=lambda one: (one.thread, one.call)):
        stretch = list(some)
        first = stretch[0]
        found.setdefault(first.thread, []).append(Segment(first.start, stretch[-1].end, first.thread, first.call))
    return found


def bars(cells: dict[str, list[Segment]]) -> dict[str, list[tuple[Segment, str]]]:
    """What is there for a while, with its colour: mappings, PTEs, requests, seals and content, in this order."""
    found: dict[str, list[tuple[Segment, str]]] = {}
    content: dict[Any, str] = {}
    order = sorted(cells, key=lambda cell: (KIND_ORDER.index(_kind(cell)), cell))
    for cell in order:
        kind = _kind(cell)
        for one in cells[cell]:
            if kind == "content":
                colour = content.setdefault(one.value, COLOURS[len(content) % len(COLOURS)])
                found.setdefault(cell, []).append((attrs.evolve(one, text=shown(cell, one.value)), colour))
            elif kind == "mapping":
                for vma in one.value:
                    told = f"{vma.start:#x}-{vma.end:#x}" + (f" of {show(vma.file)}" if vma.file is not None else "")
                    found.setdefault(f"{owner(cell)} maps", []).append((attrs.evolve(one, text=told), MADE[kind]))
            elif (
                kind == "other" and PAGE.search(owner(cell)) and (one.value is True or isinstance(one.value, frozenset))
            ):
                if one.value:
                    text = field(cell) if one.value is True else " ".join(sorted(map(show, one.value)))
                    found.setdefault(cell, []).append((attrs.evolve(one, text=text), MADE["flag"]))
            elif kind != "other" and one.value not in (None, (), 0):
                said = brief(shown(cell, one.value), 40).removeprefix("Pte(").removesuffix(")")
                text = f"{len(one.value)} under way" if kind == "request" else said
                found.setdefault(cell, []).append((attrs.evolve(one, text=text), MADE[kind]))
    return found


KIND_ORDER: Final = ("mapping", "PTE", "request", "seal", "content", "other")


def _kind(cell: str) -> str:
    name = field(cell)
    if name.startswith("word["):
        return "content"
    if name.startswith("pte["):
        return "PTE"
    return {"mmap": "mapping", "queue": "request", "seals": "seal"}.get(name, "other")


def counts(cells: dict[str, list[Segment]]) -> dict[str, list[str]]:
    """The cells that count, by the object that they are of: a page's, an address_space's."""
    found: dict[str, list[str]] = {}
    for cell, held in cells.items():
        number = all(isinstance(one.value, int) and not isinstance(one.value, bool) for one in held)
        own = PAGE.search(owner(cell)) or owner(cell).endswith("i_data")
        # what a design counts beside Linux's own is told where it moves
        if number and (field(cell) in COUNTS or (own and len(held) > 1 and _kind(cell) == "other")):
            found.setdefault(owner(cell), []).append(cell)
    return dict(sorted(found.items(), key=lambda item: (not PAGE.search(item[0]), item[0])))


def _drawn(events: Sequence[Event], names: Names, title: str, below: str, mark: tuple[float, str] | None) -> Picture:
    if not events:
        raise UserError("there is nothing to draw: no step was recorded")
    end = max(one.end for one in events)
    cells = histories(events, end)
    threads, things, numbers = runs(events), bars(cells), counts(cells)
    heights = [len(threads) + 0.6, *([len(things) + 0.6] if things else []), *([3.0] * len(numbers))]
    made = new_figure(WIDTH, 0.9 + LANE * sum(heights) + 0.12 * len(heights))
    axes = made.subplots(len(heights), 1, sharex=True, gridspec_kw={"height_ratios": heights}, squeeze=False)[:, 0]
    for axis in axes:
        axis.set_xlim(0, end * MARGIN)  # names and short bars' texts stand beyond the end
        axis.spines[["top", "right"]].set_visible(False)
    letters = end * MARGIN * CHARACTER / (WIDTH - 2.2)
    colours = {thread: COLOURS[number % len(COLOURS)] for number, thread in enumerate(threads)}
    _lanes(axes[0], {name: [(one, colours[name]) for one in some] for name, some in threads.items()}, letters)
    if things:
        _lanes(axes[1], {names.of(cell): some for cell, some in things.items()}, letters)
    for axis, (thing, some) in zip(axes[2 if things else 1 :], numbers.items(), strict=True):
        _count(axis, thing, {cell: cells[cell] for cell in some}, end)
    if mark is not None:
        for axis in axes:
            axis.axvline(mark[0], color="#d62728", linewidth=1.2, linestyle=(0, (4, 2)), zorder=5)
    axes[-1].set_xlabel(below)
    if mark is not None:
        axes[0].set_title(f"broken at the dashed line: {mark[1]}", color="#d62728", fontsize="small", loc="right")
    if title:
        made.suptitle(title, fontsize="medium")
    return Picture(made)


def _lanes(axis: Any, lanes: dict[str, list[tuple[Segment, str]]], letters: float) -> None:
    """One row for each name, the first at the top; a text stands in its bar, or else beside it where nothing is."""
    for row, some in enumerate(lanes.values()):
        last, free_from = "", 0.0
        for number, (one, colour) in enumerate(some):
            width = one.end - one.start
            axis.barh(row, width, left=one.start, height=0.72, color=colour, edgecolor="white", linewidth=0.8)
            after = some[number + 1][0].start if number + 1 < len(some) else axis.get_xlim()[1]
            rooms = (
                (one.start, width, "left", letters / 2),
                (one.end, after - one.end, "left", letters / 2),
                (one.start, one.start - free_from, "right", -letters / 2),
            )
            needed = (len(one.text) + 1) * letters
            at, room, side, gap = next((each for each in rooms if each[1] >= needed), rooms[0])
            fitting = int(room / letters) - 1
            if one.text != last and fitting >= SHORTEST:
                text = one.text if len(one.text) <= fitting else f"{one.text[: fitting - 1]}…"
                axis.text(at + gap, row, text, va="center", ha=side, fontsize=8, color="black")
                free_from = at + (len(text) + 1) * letters if side == "left" else one.end
            last, free_from = one.text, max(free_from, one.end)
    axis.set_yticks(range(len(lanes)), lanes, fontsize=8)
    axis.set_ylim(len(lanes) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)


SHORTEST: Final = 4
"""A bar in which fewer letters fit than this has none."""


def _count(axis: Any, thing: str, cells: dict[str, list[Segment]], end: float) -> None:
    """The counts of one object as lines, each with its name at its end and each change with its new value."""
    last: list[float] = []
    for number, (cell, held) in enumerate(cells.items()):
        colour = COLOURS[number % len(COLOURS)]
        values = [one.value for one in held]
        axis.step([*(one.start for one in held), end], [*values, values[-1]], where="post", color=colour, linewidth=1.8)
        for one in held:
            at = (one.start, one.value)
            axis.annotate(str(one.value), at, (2, 2), textcoords="offset points", fontsize=7, color=colour)
        place = values[-1]
        while any(abs(place - other) < APART for other in last):
            place += APART
        last.append(place)
        axis.text(end * 1.01, place, field(cell), fontsize=8, color=colour, va="center")
    low, high = axis.get_ylim()
    axis.set_ylim(min(low, 0) - 0.3, max(high, *last) + 0.6)
    axis.yaxis.get_major_locator().set_params(integer=True, nbins=4)
    axis.set_ylabel(thing, rotation=0, ha="right", va="center", fontsize=8)
    axis.tick_params(labelsize=7)


APART: Final = 0.7
"""How far apart the names of two lines stand at least."""
