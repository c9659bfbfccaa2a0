"""What `mmsim list` prints: rows of named fields, the first of which is the name."""

from __future__ import annotations

import inspect
import textwrap
from typing import TYPE_CHECKING, Final

import attrs

from mmsim.report.table import WIDTH, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Row = dict[str, str]


def scenarios() -> list[Row]:
    """The catalogue: what each scenario is about, and what it expects."""
    from mmsim import catalogue

    found = (catalogue.find(name) for name in catalogue.names())
    return [
        {
            "name": one.name,
            "about": one.summary,
            "expects": ", ".join(f"{strategy} {verdict.value}" for strategy, verdict in one.scenario.expect.items()),
        }
        for one in found
    ]


def strategies() -> list[Row]:
    """The strategies that come with mmsim."""
    from mmsim.strategies import STRATEGIES

    return [{"name": strategy.name, "about": first_line(strategy.doc)} for strategy in STRATEGIES]


def properties() -> list[Row]:
    """The properties that hold of every scenario unasked, then each scenario's own."""
    from mmsim import catalogue, check

    rows = [{"name": name, "of": "every scenario", "kind": "always", "about": text} for name, text in check.ALWAYS_ON]
    for name in catalogue.names():
        scenario = catalogue.find(name).scenario
        for kind, some in (("always", scenario.always), ("sometimes", scenario.sometimes)):
            rows += [
                {"name": one.__name__, "of": name, "kind": kind, "about": first_line(inspect.getdoc(one) or "")}
                for one in some
            ]
    return rows


def releases() -> list[Row]:
    """The kernel releases that are modelled: what each answers otherwise than the plainest."""
    from mmsim.kernel.releases import RELEASES

    return [
        {
            "name": release.name,
            "about": ", ".join(
                field.name.replace("_", " ")
                for field in attrs.fields(type(release))
                if getattr(release, field.name) is True
            ),
        }
        for release in RELEASES
    ]


ROWS: Final[dict[str, Callable[[], list[Row]]]] = {
    "scenarios": scenarios,
    "strategies": strategies,
    "properties": properties,
    "releases": releases,
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
