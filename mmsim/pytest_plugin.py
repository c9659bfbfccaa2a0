"""The pytest plugin: `pytest scenarios/` judges every scenario under every strategy that it expects something of.

A file that holds a scenario (a value named `scenario`, and something of mmsim imported) is collected wherever pytest
meets it, whatever the file's name; `dio_torn_page.py::wait_for_pins` is one test, `....py::wait_for_pins[v4.8]` one of
a scenario with a history.  A test fails where the verdict is not the expected one, and says so as `mmsim check` does.

Nothing else is imported before such a file is met, so the plugin costs nothing where there are none.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mmsim.errors import UserError

if TYPE_CHECKING:
    from mmsim.batch import Task
    from mmsim.report.judged import Judged


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of `mmsim check` that a test run can want."""
    group = parser.getgroup("mmsim", "scenarios of Linux memory management")
    group.addoption(
        "--mmsim-strategy",
        action="append",
        default=[],
        metavar="NAME|FILE.py:NAME",
        help="Judge every scenario under this strategy; where a scenario expects nothing of it, it has to hold. "
        "May be given several times.",
    )
    group.addoption("--mmsim-max-seconds", type=float, metavar="N", help="Give a test of a scenario up after so long.")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ScenarioFile | None:
    """Take the files that hold a scenario, and no others."""
    if file_path.suffix != ".py" or file_path.name.startswith(("_", "conftest.")):
        return None
    return ScenarioFile.from_parent(parent, path=file_path) if holds_scenario(file_path.read_bytes()) else None


def holds_scenario(source: bytes) -> bool:
    """Whether a file means to be a scenario, told without running it; one with a slip in it does mean to."""
    if b"mmsim" not in source or b"Scenario" not in source:
        return False
    import ast

    from mmsim.catalogue import suggestion

    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return b"\nscenario =" in source
    assigned = {
        target.id: isinstance(statement.value, ast.Call) and ast.unparse(statement.value.func).endswith("Scenario")
        for statement in tree.body
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        for target in (statement.targets if isinstance(statement, ast.Assign) else [statement.target])
        if isinstance(target, ast.Name)
    }
    misspelt = any(made and suggestion(name, ["scenario"], "") for name, made in assigned.items())
    return misspelt or ("scenario" in assigned and any(imports_mmsim(statement) for statement in ast.walk(tree)))


def imports_mmsim(statement: Any) -> bool:
    """Whether a statement of a syntax tree imports mmsim or a part of it."""
    names = [alias.name for alias in getattr(statement, "names", ()) if hasattr(alias, "name")]
    return any(name.partition(".")[0] == "mmsim" for name in [getattr(statement, "module", None) or "", *names])


class ScenarioFile(pytest.File):
    """A file that holds a scenario: one test for each strategy and release."""

    def collect(self) -> Iterator[ScenarioTest]:
        """In the catalogue's order, the same in every process."""
        from mmsim import batch

        options = batch.Options(max_seconds=self.config.getoption("--mmsim-max-seconds"))
        here = Path.cwd()  # as one would call the file on a command line
        name = str(self.path.relative_to(here) if self.path.is_relative_to(here) else self.path)
        try:
            tasks = batch.tasks_of(name, self.config.getoption("--mmsim-strategy"), None, options)
        except UserError as error:
            raise self.CollectError(str(error)) from error
        for task in tasks:
            several = sum(other.strategy == task.strategy for other in tasks) > 1
            title = f"{task.strategy}[{task.release}]" if several else task.strategy
            yield ScenarioTest.from_parent(self, name=title, task=task)


class ScenarioTest(pytest.Item):
    """A scenario under one strategy on one release."""

    def __init__(self, *, task: Task, **others: Any) -> None:
        super().__init__(**others)
        self.task = task

    def runtest(self) -> None:
        """Judge it, and fail with everything there is to say."""
        from mmsim import batch
        from mmsim.report import text

        try:
            found = batch.judged(self.task)
        except UserError as error:
            pytest.fail(str(error), pytrace=False)
        if getattr(found.verdict, "reason", "") == "interrupted":
            raise KeyboardInterrupt
        if complaint := objection(found):
            pytest.fail(f"{complaint}\n\n{text.verdict(found)}", pytrace=False)

    def reportinfo(self) -> tuple[Path, None, str]:
        """The words above a failure."""
        return self.path, None, f"{self.path.stem} under {self.name}"


def objection(found: Judged) -> str:
    """One sentence that says why a test fails, or ''."""
    from mmsim.verdict import Undecided, Violated

    if isinstance(found.verdict, Undecided):
        return f"Undecided after {found.verdict.reason}; --mmsim-max-seconds says how long a test may take"
    expected = found.judgement.expected
    if expected is None and isinstance(found.verdict, Violated):
        return "Violated, and nothing is expected"
    if not found.judgement.as_expected and found.judgement.unwitnessed:
        return f"{found.word}, but never seen: {', '.join(found.judgement.unwitnessed)}"
    return "" if found.fits else f"{found.word}, expected: {expected.value if expected else 'nothing'}"
