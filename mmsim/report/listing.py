"""What `mmsim list` prints: rows of named fields, the first of which is the name."""

from __future__ import annotations

import inspect
import textwrap
from typing import TYPE_CHECKING, Final

from mmsim.check import books, promises, properties
from mmsim.report.table import WIDTH, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Row = dict[str, str]


ALWAYS_ON: Final = (
    (promises.SEALED, "F_SEAL_WRITE: no byte below the size changes by writing, in any view of the file"),
    (promises.REMOUNTED, "a remount read-only: no byte changes, in any view of the file or on its disk"),
    (promises.IMMUTABLE, "S_IMMUTABLE: no byte of the file changes, in any view of it, nor does its size"),
    (
        promises.EXECUTED,
        "execve(): while it denies writers, no byte of the file that runs changes, nor does its size",
    ),
    (properties.SIZE, "F_SEAL_SHRINK and F_SEAL_GROW: the size does not fall, does not rise"),
    (properties.LOST, "what a device wrote is found where the buffer is"),
    (properties.MOVED, "migration and replacement keep what nobody else can write meanwhile"),
    (books.LEAK, "at rest, every reference and every map count is accounted for"),
    (books.COUNT, "at rest, it counts the shared mappings there are"),
    (books.AGREE, "at rest, a shared mapping shows the page that the page cache has"),
    (properties.STABLE, "a disk that checksums what it writes reads a page that stays as it is"),
    (books.CLEAN, "at rest, what is not marked dirty is on the disk"),
    (books.TAGGED, "at rest, what is marked dirty will be written"),
    (books.FILES, "at rest, every reference to an open file that is counted is accounted for"),
    (books.WRITERS, "at rest, a mount has as many writers as files are open for writing"),
    (books.WRITECOUNT, "at rest, it counts the files open for writing, less the programs that deny it"),
    ("no kernel bug", "no use of a freed page, no count below zero, no unlock of what is not locked"),
    ("no deadlock", "nobody waits for ever, but for a device that stays silent"),
    ("no livelock", "nobody spins for ever in a loop that nobody, no device either, can end"),
    ("no lock inversion", "lock classes are taken in one order everywhere, as lockdep asks"),
    ("no sleeping in atomic context", "nobody sleeps in an interrupt or while holding a spinlock"),
)
"""The properties that hold of every scenario unasked."""


def scenarios() -> list[Row]:
    """The catalogue: what each scenario is about, and what it expects."""
    from mmsim import catalogue

    found = (catalogue.find(name) for name in catalogue.names())
    return [
        {
            "name": one.name,
            "about": one.summary,
            "expects": ", ".join(
                [
                    *(f"{strategy} {verdict.value}" for strategy, verdict in one.scenario.expect.items() if verdict),
                    *(f"Linux since {release} {verdict.value}" for release, verdict in one.scenario.history.items()),
                ]
            ),
        }
        for one in found
    ]


def strategies() -> list[Row]:
    """The strategies that come with mmsim."""
    from mmsim.strategies import STRATEGIES

    return [{"name": strategy.name, "about": first_line(strategy.doc)} for strategy in STRATEGIES]


def all_properties() -> list[Row]:
    """The properties that hold of every scenario unasked, then each scenario's own."""
    from mmsim import catalogue

    rows = [{"name": name, "of": "every scenario", "kind": "always", "about": text} for name, text in ALWAYS_ON]
    for name in catalogue.names():
        scenario = catalogue.find(name).scenario
        for kind in ("always", "sometimes", "needless"):
            rows += [
                {"name": one.__name__, "of": name, "kind": kind, "about": first_line(inspect.getdoc(one) or "")}
                for one in getattr(scenario, kind)
            ]
    return rows


def releases() -> list[Row]:
    """The kernel releases that are modelled: what is new in each, and what is gone."""
    from mmsim.kernel import releases as known

    changes = [value for value in vars(known).values() if isinstance(value, known.Change)]
    rows = []
    before = known.RELEASES[0]
    for release in known.RELEASES:
        told = [each.about for each in changes if release.has(each) and not before.has(each)]
        told += [f"no longer: {each.about}" for each in changes if before.has(each) and not release.has(each)]
        rows.append({"name": release.name, "about": "; ".join(told)})
        before = release
    return rows


def workloads() -> list[Row]:
    """What `simulate` measures: what an operation is, and what the devices take where nobody says."""
    from mmsim.timed.workloads import WORKLOADS

    return [
        {
            "name": one.name,
            "about": one.doc,
            "operation": one.operation,
            "delay": repr(one.delay),
        }
        for one in WORKLOADS.values()
    ]


ROWS: Final[dict[str, Callable[[], list[Row]]]] = {
    "scenarios": scenarios,
    "strategies": strategies,
    "properties": all_properties,
    "releases": releases,
    "workloads": workloads,
}


def first_line(text: str) -> str:
    """A docstring's first line."""
    return text.strip().partition("\n")[0]


def text(rows: Sequence[Row], *, width: int = WIDTH) -> str:
    """One line each, in columns, where they fit; else each name on a line of its own, with the rest beneath it."""
    table = plain([list(row.values()) for row in rows])
    if max(map(len, table.splitlines())) <= width:
        return table
    return "\n".join(line for row in rows for line in stacked(row, width))


def stacked(row: Row, width: int) -> list[str]:
    """A name, and beneath it what there is to say."""
    name, *others = row.values()
    return [
        name,
        *(
            line
            for other in others
            for line in textwrap.wrap(other, width - 4, initial_indent="    ", subsequent_indent="    ")
        ),
    ]
