"""Tables as plain text: columns, and verdicts as words; colour only where the caller asks for it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH: Final = 100
GAP: Final = 2
COLOURS: Final = {"Holds": "32", "Violated": "33", "Undecided": "35", "unexpected": "1;31"}


@attrs.frozen
class Entry:
    """One cell of the comparison: a verdict, and whether it is what the scenario expects."""

    scenario: str
    strategy: str
    verdict: str
    steps: int = 0
    """The length of the counterexample."""
    fits: bool = True
    unwitnessed: bool = False
    expected: str = ""

    @property
    def text(self) -> str:
        """`Holds`, `Violated 19`; `!` after a verdict that was not expected, `?` where a `sometimes` was not seen."""
        mark = "?" if self.unwitnessed else "" if self.fits or self.verdict == "Undecided" else "!"
        return f"{self.verdict}{f' {self.steps}' if self.steps else ''}{mark}"


def words(entries: Sequence[Entry], *, width: int = WIDTH, colour: bool = False) -> str:
    """Strategies x scenarios, each cell a verdict in words; '' if neither way round fits."""
    scenarios = list(dict.fromkeys(entry.scenario for entry in entries))
    strategies = list(dict.fromkeys(entry.strategy for entry in entries))
    by_scenario = grid("scenario", scenarios, strategies, {(e.scenario, e.strategy): e for e in entries})
    by_strategy = grid("strategy", strategies, scenarios, {(e.strategy, e.scenario): e for e in entries})
    fits = (rows for rows in (by_scenario, by_strategy) if _wide(rows) <= width)
    return next((_join(rows, colour=colour) for rows in fits), "")


def surprises(entries: Sequence[Entry], *, width: int = WIDTH, colour: bool = False) -> str:
    """One sentence for each verdict that is not what it should be."""
    lines = []
    for entry in entries:
        if entry.fits and not entry.unwitnessed and entry.verdict != "Undecided":
            continue
        why = "a `sometimes` was never seen" if entry.unwitnessed else f"expected {entry.expected}"
        line = f"{entry.scenario} under {entry.strategy}: {entry.verdict}, {why}"
        for part in textwrap.wrap(line, width, subsequent_indent="  ", break_on_hyphens=False):
            lines.append(paint(part, "unexpected") if colour else part)
    return "\n".join(lines)


def grid(
    title: str, rows: Sequence[str], columns: Sequence[str], cells: Mapping[tuple[str, str], Entry]
) -> list[list[str]]:
    """The table as rows of text; a pair that no scenario has an expectation for is a dot."""
    table = [[title, *columns]]
    for row in rows:
        found = [cells.get((row, column)) for column in columns]
        table.append([row, *("." if entry is None else entry.text for entry in found)])
    return table


def plain(rows: Sequence[Sequence[str]], *, gap: int = GAP) -> str:
    """Left-aligned columns, two blanks apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("".join(f"{text:<{width + gap}}" for text, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def legend(entries: Sequence[Entry]) -> str:
    """What the words and marks in this table mean; only those that occur."""
    words = {entry.verdict for entry in entries}
    lines = []
    if "Holds" in words:
        lines.append("Holds      every interleaving was explored and none breaks a property")
    if "Violated" in words:
        lines.append("Violated n the shortest schedule that breaks a property has n steps (`mmsim check` shows it)")
    if "Undecided" in words:
        lines.append("Undecided  a bound was reached first")
    if any(entry.text.endswith("!") for entry in entries):
        lines.append("!          not the verdict that the scenario expects")
    if any(entry.unwitnessed for entry in entries):
        lines.append("?          a `sometimes` of the scenario was never seen")
    return "\n".join(lines)


def paint(text: str, kind: str) -> str:
    """Text in the colour of its kind, for a terminal."""
    code = COLOURS.get(kind)
    return f"\x1b[{code}m{text}\x1b[0m" if code else text


def _wide(rows: Sequence[Sequence[str]]) -> int:
    return sum(max(map(len, column)) + GAP for column in zip(*rows, strict=True)) - GAP


def _join(rows: Sequence[Sequence[str]], *, colour: bool) -> str:
    text = plain(rows)
    if not colour:
        return text
    head, *body = text.splitlines()
    return "\n".join([head, *(_coloured(line) for line in body)])


def _coloured(line: str) -> str:
    """Every verdict of a line painted; what is marked as unexpected stands out."""
    import re

    def one(match: re.Match[str]) -> str:
        return paint(match[0], "unexpected" if match[0][-1] in "!?" else match[1])

    return re.sub(r"\b(Holds|Violated|Undecided)( \d+)?[!?]?", one, line)
