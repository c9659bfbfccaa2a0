"""From names, files and values of a running Python session to tests; and what IPython calls the cells of a notebook.

A value is judged in the session itself, since no other process has it.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

from mmsim import batch, catalogue
from mmsim import check as checker
from mmsim.errors import UserError
from mmsim.kernel.strategy import Strategy, linux
from mmsim.report.judged import Judged
from mmsim.scenario import Scenario
from mmsim.trace import Execution


def asked(scenario: str | Scenario, strategy: str | Strategy, release: str | None = None) -> checker.Test:
    """What is to be judged.  Raises UserError, as for a file, where a value is not well formed."""
    design = design_of(strategy)
    if isinstance(scenario, str) and (named := _named(strategy, design)) is not None:
        return batch.load(scenario, named, release)
    if isinstance(scenario, str):
        loaded = catalogue.find(scenario, [*batch.strategies(), design.name])
        name, judged, said = loaded.name, loaded.scenario, repr(scenario)
    else:
        name, judged = _checked(scenario, [design.name])
        said = name
    on = batch.find_release(release or judged.release)
    told = repr(strategy) if isinstance(strategy, str) else design.name
    return checker.Test(name, judged, design, on, words=(said, told), in_session=True)


def tests(scenario: str | Scenario, wanted: Sequence[str | Strategy], release: str | None) -> list[checker.Test]:
    """The tests of one scenario: as on the command line, past releases included where it has a history."""
    if isinstance(scenario, str):
        name, judged = scenario, catalogue.find(scenario, None).scenario
    else:
        name, judged = _checked(scenario, [design_of(one).name for one in wanted])
    known, own = batch.strategies(), _designs_beside(judged)
    expected = judged.tests(known)
    given: Sequence[str | Strategy] = wanted or [own.get(one, one) for one in dict.fromkeys(one for one, _ in expected)]
    pairs: list[tuple[str | Strategy, str | None]] = []
    for one in given:
        releases = [on for called, on in expected if called == _name(one)]
        if release is None:
            pairs += [(one, on) for on in releases or [judged.release]]
        elif wanted or not judged.history or judged.expected(_name(one), release, known) is not None:
            pairs.append((one, release))
    if not pairs:
        msg = f"{name} expects nothing of any strategy; say with strategies=[...] which to judge"
        raise UserError(msg)
    return [asked(scenario, one, on) for one, on in pairs]


def told_apart(wanted: Iterable[str | Strategy]) -> dict[str, Strategy]:
    """The designs by name.  Raises UserError where two have the same."""
    found: dict[str, Strategy] = {}
    whose: dict[str, str | Strategy] = {}
    for one in wanted:
        design = design_of(one)
        found.setdefault(design.name, design)
        called = _named(one, design) or one
        if whose.setdefault(design.name, called) != called:
            msg = f"two designs are named {design.name!r}, so a table could not tell them; give one another `name`"
            raise UserError(msg)
    return found


def _name(strategy: str | Strategy) -> str:
    return strategy if isinstance(strategy, str) else strategy.name


def design_of(strategy: str | Strategy) -> Strategy:
    """The strategy itself.  A value must not bear the name of another one that mmsim knows."""
    if isinstance(strategy, str):
        return batch.find_strategy(strategy)
    if not isinstance(strategy, Strategy):
        kind = type(strategy).__name__
        msg = f"a strategy is a name or a value made by `attrs.evolve(linux, name='mine', ...)`, and no {kind}"
        raise UserError(msg)
    known = {**batch.strategies(), linux.name: linux}
    if known.get(strategy.name, strategy) != strategy:
        msg = f"mmsim has a strategy {strategy.name!r} already; give yours another name: attrs.evolve(..., name='mine')"
        raise UserError(msg)
    return strategy


def _named(strategy: str | Strategy, design: Strategy) -> str | None:
    """What the command line calls it; None for a value of this session."""
    if isinstance(strategy, str):
        return strategy
    return design.name if design.name in batch.strategies() else None


def _checked(scenario: Any, designs: Collection[str]) -> tuple[str, Scenario]:
    """A scenario that is a value: its name, and itself if it is well formed."""
    if not isinstance(scenario, Scenario):
        msg = f"a scenario is a name, a file or a value `Scenario(...)`, and no {type(scenario).__name__}"
        raise UserError(msg)
    name = _variable(scenario)
    try:
        catalogue.check(scenario, name, [*batch.strategies(), *designs, *_designs_beside(scenario)])
    except UserError as error:
        raise UserError(_with_cells(str(error))) from None
    return name, scenario


def _designs_beside(scenario: Scenario) -> dict[str, Strategy]:
    """The strategies that were made where a scenario was, by name; a scenario may expect something of them."""
    home = getattr(scenario.setup, "__globals__", {})
    found = {value.name: value for value in home.values() if isinstance(value, Strategy)}
    return {name: value for name, value in found.items() if name not in batch.strategies()}


def _variable(scenario: Scenario) -> str:
    """What a scenario is called: the name of a variable where its setup was defined, as for one in a file."""
    home = getattr(scenario.setup, "__globals__", {})
    # what IPython keeps as `_` or `_7` has a name of its own too
    names = [name for name, value in home.items() if value is scenario and not name.startswith("_")]
    return names[0] if names else "scenario"


# ---- cells of a notebook


def told(judged: Judged) -> Judged:
    execution = judged.execution
    return judged if execution is None else attrs.evolve(judged, execution=in_cells(execution))


def in_cells(execution: Execution) -> Execution:
    """The same with `In[3]` in place of the file that IPython keeps a cell's text in."""
    cells = {Path(file).name: cell for file, cell in _cells().items()}
    if not cells:
        return execution
    steps = tuple(
        attrs.evolve(step, frames=tuple(attrs.evolve(one, file=cells.get(one.file, one.file)) for one in step.frames))
        for step in execution.steps
    )
    return attrs.evolve(execution, steps=steps)


def _with_cells(text: str) -> str:
    for file, cell in _cells().items():
        text = text.replace(file, cell)
    return text


def _cells() -> dict[str, str]:
    """The file that each cell of this session was compiled as, and what IPython calls the cell: `In[3]`."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None:
        return {}
    named = {file: shell.compile.format_code_name(file) for file in list(linecache.cache)}
    return {file: told[1] for file, told in named.items() if told is not None}
