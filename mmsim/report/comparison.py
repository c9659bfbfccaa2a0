"""`mmsim compare`: verdicts that were not expected, a row for each design, and every cell of designs x scenarios.

Every table is made once, as rows of text, and then written as plain columns (at most 100, so that it can be mailed)
or as Markdown.  Where all cells fit as words they are words, and else they are marks, chapter by chapter.
"""

from __future__ import annotations

import textwrap
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

import attrs

from mmsim.report import table
from mmsim.report.design import ASKED_FOR, LINUX_WAITS, PRICED_ON, Design, designs, remarks
from mmsim.report.table import WIDTH, Entry
from mmsim.scenario import QUESTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["PRICED_ON", "Comparison", "designs", "markdown", "text"]

Rows = list[list[str]]

GROUPS: Final = (
    ("", "right?", "refuses", "who waits?", "", "", "price", "", "", "", ""),
    (
        "design",
        "holds",
        "needlessly",
        "munmap",
        "exit",
        "seal",
        "flags",
        "bytes",
        "gup_fast",
        "unpin",
        "irq",
    ),
)
Lines = tuple[tuple[str, str], ...]

LEGEND: Final[Lines] = (
    ("holds", "tests that hold of those judged; `!` where a verdict was not expected"),
    ("needlessly", "scenarios in which somebody is refused though nobody needed it"),
    (
        "munmap, exit",
        "whether it is left waiting for a silent device; `aio`: as exit() of every Linux waits for its I/O",
    ),
    ("seal", "how long F_ADD_SEALS can be held off by others: not at all, so long asleep, or for ever"),
    ("flags, bytes", "page flags it needs; bytes in struct page, on 32/64 bits"),
    (
        "gup_fast, unpin",
        "atomics/cache lines more than `linux` on {release}, for a write pin and for giving it back after munmap",
    ),
    ("irq", "whose last reference is seen to be dropped in an interrupt: a page's, a count of the design's own, both"),
)
MARKS: Final[Lines] = (
    (".", "holds"),
    ("V", "violated, as expected"),
    ("?", "undecided: a bound was reached first"),
    ("!", "not the expected verdict, or a `sometimes` was never seen"),
    ("w", "holds, but a silent device leaves somebody waiting in a call that is not there to wait"),
    ("n", "holds, but somebody is refused needlessly (`b`: both)"),
)
COLUMN: Final = 2
"""How wide a column of marks is."""


@attrs.frozen(repr=False)
class Comparison:
    """All that was judged.  It prints as `mmsim compare` does, and displays itself in a notebook."""

    designs: tuple[Design, ...]
    results: Sequence[Mapping[str, Any]]
    damaged: int = 0
    fresh: bool = False
    priced_on: str = PRICED_ON

    @property
    def legend(self) -> Lines:
        """What the columns mean."""
        return tuple((name, said.format(release=self.priced_on)) for name, said in LEGEND)

    @property
    def entries(self) -> list[Entry]:
        """The cells."""
        return [entry(one) for one in self.results]

    @property
    def names(self) -> list[str]:
        """The designs' names, in the order of their numbers."""
        return [one.name for one in self.designs]

    def __str__(self) -> str:
        return text(self)

    def __repr__(self) -> str:
        return f"<{len(self.results)} tests of {len(self.designs)} designs>"

    def _repr_html_(self) -> str:
        from mmsim.report import rich

        return rich.compared(self)


def entry(result: Mapping[str, Any]) -> Entry:
    """One cell."""
    test, violation = result["test"], result["violation"]
    return Entry(
        f"{test['scenario']} {test['release']}" if result["history"] else test["scenario"],
        test["strategy"],
        result["verdict"],
        violation["steps"] if violation else 0,
        result["as_expected"],
        bool(result["unwitnessed"]),
        result["expected"] or "nothing",
    )


def mark(result: Mapping[str, Any]) -> str:
    """One cell as one character."""
    if result["verdict"] == "Undecided":
        return "?"
    if not result["as_expected"]:
        return "!"
    if result["verdict"] == "Violated":
        return "V"
    seen = result["observed"]
    waits = any(
        wait["call"] not in ASKED_FOR and (wait["call"], wait["function"]) != LINUX_WAITS for wait in seen["waits"]
    )
    needless = bool(seen["needless"])
    return "b" if waits and needless else "w" if waits else "n" if needless else "."


# ---- the tables


def design_rows(told: Comparison) -> Rows:
    """A row for each design."""
    return [
        [
            f"{number:2} {one.name}",
            f"{one.holds}/{one.of}{'!' if one.unexpected else ''}",
            str(len(one.needless)) if one.needless else "-",
            one.waits_in("munmap"),
            one.waits_in("exit"),
            one.seal,
            str(one.budget.page_flags or "-"),
            _bytes(one),
            one.differs("gup_fast"),
            one.differs("unpin after munmap"),
            one.irq,
        ]
        for number, one in enumerate(told.designs, 1)
    ]


def _bytes(one: Design) -> str:
    small, large = one.budget.struct_page_bytes_32, one.budget.struct_page_bytes_64
    return f"{small}/{large}" if small or large else "-"


def chapters(told: Comparison) -> dict[str, list[Mapping[str, Any]]]:
    """The results by chapter, in the catalogue's order, without those about past releases; '' comes last."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for name in (*QUESTIONS, ""):
        some = [one for one in told.results if one["question"] == name and not one["history"]]
        if some:
            found[name] = some
    return found


def chapter_rows(told: Comparison) -> Rows:
    """How many of each chapter's tests hold, for each design."""
    by_chapter = chapters(told)
    rows = [["design", *(name or "others" for name in by_chapter)]]
    for number, one in enumerate(told.designs, 1):
        cells = []
        for some in by_chapter.values():
            own = [result for result in some if result["test"]["strategy"] == one.name]
            cells.append(f"{sum(result['verdict'] == 'Holds' for result in own)}/{len(own)}" if own else "")
        rows.append([f"{number:2} {one.name}", *cells])
    return rows


def mark_rows(results: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Rows:
    """Scenarios x designs, in marks."""
    cells = {(one["test"]["scenario"], one["test"]["strategy"]): mark(one) for one in results}
    scenarios = dict.fromkeys(one["test"]["scenario"] for one in results)
    return [[scenario, *(cells.get((scenario, name), "") for name in names)] for scenario in scenarios]


def history(told: Comparison) -> Rows:
    """Each bug of the past, with the releases judged and their verdicts."""
    found: dict[str, list[str]] = {}
    for one in told.results:
        if one["history"]:
            said = f"{one['test']['release']} {one['verdict']}{'' if one['as_expected'] else '!'}"
            found.setdefault(one["test"]["scenario"], []).append(said)
    return [[scenario, ", ".join(said)] for scenario, said in found.items()]


def reused(told: Comparison) -> str:
    """Which results were kept from earlier runs, in one sentence."""
    anew = [f"{entry(one).scenario} under {one['test']['strategy']}" for one in told.results if not one["reused"]]
    kept = len(told.results) - len(anew)
    were = "kept result was damaged and is" if told.damaged == 1 else "kept results were damaged and are"
    damaged = f"{told.damaged} {were} judged anew.  " if told.damaged else ""
    if not kept:
        return f"{damaged}All {len(anew)} results were judged in this run{' (--fresh)' if told.fresh else ''}."
    if not anew:
        return (
            f"{damaged}All {kept} results were kept from earlier runs, for nothing has changed (--fresh judges anew)."
        )
    which = "; ".join(anew) if len(anew) <= FEW else f"{'; '.join(anew[:FEW])} and {len(anew) - FEW} more"
    return f"{damaged}{kept} of {len(told.results)} results were kept from earlier runs; judged in this one: {which}."


FEW: Final = 6


# ---- as text


def text(told: Comparison, *, width: int = WIDTH, colour: bool = False) -> str:
    """The whole comparison in plain columns."""
    parts = [table.surprises(told.entries, width=width, colour=colour)]
    words = table.words(told.entries, width=width, colour=colour)
    rows = design_rows(told)
    parts += [words] if words else []
    parts.append(aligned([list(line) for line in GROUPS], rows, width))
    if not words:
        parts.append("Tests that hold, by chapter\n" + table.plain(chapter_rows(told), gap=1))
        parts += [
            f"{QUESTIONS.get(name, 'Others')}\n{marks(told, some, width, colour=colour)}"
            for name, some in chapters(told).items()
        ]
        if past := history(told):
            parts.append(f"{QUESTIONS['history']}\n{wrapped(past, width)}")
    notes = [
        f"{number:2} {one.name}: {'; '.join(remarks(one))}."
        for number, one in enumerate(told.designs, 1)
        if remarks(one)
    ]
    parts.append(
        "\n".join(textwrap.fill(note, width, subsequent_indent="   ", break_on_hyphens=False) for note in notes)
    )
    legend = [*told.legend, *(() if words else MARKS)]
    parts.append(
        "\n".join(
            filter(None, [table.legend(told.entries) if words else "", wrapped([list(line) for line in legend], width)])
        )
    )
    parts.append(textwrap.fill(reused(told), width, break_on_hyphens=False))
    parts.append("`mmsim explain DESIGN SCENARIO` says why a cell is what it is.")
    return "\n\n".join(part for part in parts if part)


def aligned(head: Rows, rows: Rows, width: int) -> str:
    """Columns under a head of two lines; a group's name stands over its first column and may reach beyond.

    Where they are too wide the gaps become narrower first, and then the first column.
    """
    groups, *rest = head
    whole = [*rest, *rows]
    widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
    gap = table.GAP if sum(widths) + table.GAP * (len(widths) - 1) <= width else 1
    room = max(MINIMUM, width - sum(widths[1:]) - gap * (len(widths) - 1))
    whole = [[shortened(row[0], room), *row[1:]] for row in whole]
    widths[0] = min(widths[0], room)
    line = ""
    for name, start in zip(groups, accumulate(widths, lambda at, one: at + one + gap, initial=0), strict=False):
        line = f"{line:<{start}}{' ' if len(line) >= start > 0 else ''}{name}" if name else line
    return "\n".join([line, table.plain(whole, gap=gap)])


MINIMUM: Final = 10
"""How narrow the column of names may become."""


def shortened(text: str, room: int) -> str:
    """A text cut where it is too long."""
    return text if len(text) <= room else f"{text[: room - 3]}..."


def marks(told: Comparison, results: Sequence[Mapping[str, Any]], width: int, *, colour: bool) -> str:
    """One chapter in marks, in as many blocks as it takes to keep to the width."""
    longest = max(len(row[0]) for row in mark_rows(told.results, ()))
    room = max(1, (width - longest) // COLUMN)
    blocks = []
    for start in range(0, len(told.names), room):
        some = told.names[start : start + room]
        rows = mark_rows(results, some)
        numbers = [f"{start + n:2}" for n in range(1, len(some) + 1)]
        # One digit above the other: the numbers take no more room than the marks.
        lines = [
            f"{' ' * longest}{''.join(f'{number[digit]:>{COLUMN}}' for number in numbers)}".rstrip() for digit in (0, 1)
        ][not numbers[-1][0].strip() :]
        for name, *cells in rows:
            lines.append(f"{name:<{longest}}{''.join(cell_text(cell, colour=colour) for cell in cells)}".rstrip())
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def cell_text(cell: str, *, colour: bool) -> str:
    """A mark in its column, in colour on a terminal."""
    kind = KINDS.get(cell, "Holds") if cell else ""
    return " " * (COLUMN - len(cell)) + (table.paint(cell, kind) if colour and kind else cell)


KINDS: Final = {"!": "unexpected", "V": "Violated", "?": "Undecided"}


def wrapped(rows: Rows, width: int) -> str:
    """Two columns, the second filled."""
    first = max(len(row[0]) for row in rows) + table.GAP
    lines: list[str] = []
    for name, said in rows:
        lines += textwrap.wrap(
            said, width, initial_indent=f"{name:<{first}}", subsequent_indent=" " * first, break_on_hyphens=False
        )
    return "\n".join(lines)


# ---- as Markdown


ONE_LINE: Final = 10_000
"""Markdown breaks lines where it is read."""


def markdown(told: Comparison) -> str:
    """The whole comparison as Markdown tables."""
    parts = []
    if surprising := table.surprises(told.entries, width=ONE_LINE):
        parts.append("## Not as expected\n\n" + "\n".join(f"- {line}" for line in surprising.splitlines()))
    parts.append("## Designs\n\n" + piped([list(GROUPS[1]), *design_rows(told)]))
    parts.append("## Tests that hold, by chapter\n\n" + piped(chapter_rows(told)))
    head = ["scenario", *(str(number) for number in range(1, len(told.names) + 1))]
    parts += [
        f"## {QUESTIONS.get(name, 'Others')}\n\n{piped([head, *mark_rows(some, told.names)])}"
        for name, some in chapters(told).items()
    ]
    if past := history(told):
        parts.append(f"## {QUESTIONS['history']}\n\n{piped([['scenario', 'releases'], *past])}")
    notes = [
        f"{number}. **{one.name}**: {'; '.join(remarks(one)) or 'nothing to add'}."
        for number, one in enumerate(told.designs, 1)
    ]
    parts.append("## Remarks\n\n" + "\n".join(notes))
    parts.append("## Legend\n\n" + "\n".join(f"- `{name}`: {said}" for name, said in (*told.legend, *MARKS)))
    parts.append(reused(told))
    return "\n\n".join(parts)


def piped(rows: Rows) -> str:
    """A table of Markdown; the first row is its head."""
    head, *body = [[cell.strip().replace("|", "\\|") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
