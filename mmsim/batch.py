"""Many tests, here or in several processes: what travels between them is plain text.

A scenario's values are of classes in the user's own file, which another process may not have; so a worker is told by
name what to judge, and puts its answer into words before it sends it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from mmsim.errors import UserError

if TYPE_CHECKING:
    from mmsim.check import Bounds, Progress, Test
    from mmsim.kernel.releases import Release
    from mmsim.kernel.strategy import Strategy
    from mmsim.report.judged import Judged
    from mmsim.report.table import Entry


class Meter(Protocol):
    """Shows how far one test is."""

    def __call__(self, progress: Progress, /) -> None:
        """Called now and then by a search."""

    def end(self) -> None:
        """The test is done."""


@attrs.frozen
class Options:
    """How to answer; the same for every test of one command."""

    max_states: int | None = None
    max_seconds: float | None = None
    max_memory: int | None = None
    reduce: bool | None = None
    first: bool = False
    walker: str | None = None
    runs: int = 1000
    seed: int = 0
    all_steps: bool = False

    def bounds(self) -> Bounds:
        """What the search may take."""
        from mmsim.check import Bounds

        return Bounds(max_states=self.max_states, max_seconds=self.max_seconds, max_memory=self.max_memory)


@attrs.frozen
class Task:
    """One test to carry out, as plain text, so that another process can."""

    scenario: str
    strategy: str
    release: str | None
    options: Options


@attrs.frozen
class Answer:
    """What came of a task, already put into words: values of a user's own classes need not travel."""

    text: str
    json: dict[str, Any]
    entry: Entry
    status: int


def strategies() -> dict[str, Strategy]:
    """The strategies that come with mmsim, by name."""
    from mmsim.strategies import BY_NAME

    return BY_NAME


def find_strategy(text: str) -> Strategy:
    """A strategy by name or as `FILE.py:NAME`.  Raises UserError."""
    from mmsim import catalogue

    return catalogue.resolve_strategy(text, strategies())


def find_release(name: str) -> Release:
    """A kernel release by name.  Raises UserError."""
    from mmsim.kernel.releases import release_named

    return release_named(name)


def load(scenario: str, strategy: str, release: str | None) -> Test:
    """The test that three words of the command line mean.  Raises UserError."""
    from pathlib import Path

    from mmsim import catalogue, check

    chosen = find_strategy(strategy)
    found = catalogue.find(scenario, [*strategies(), chosen.name])
    judged = found.scenario
    on = find_release(release or judged.release)
    asked = catalogue.located(strategy, Path())
    if ":" in asked and asked in judged.expect:  # what a file of the user's says of a design in another one
        judged = attrs.evolve(judged, expect={chosen.name: judged.expect[asked]}, history={})
    return check.Test(found.name, judged, chosen, on, digest(found.source, chosen), (scenario, asked))


MODEL = ("steps.py", "cells.py", "syscalls.py", "machine.py", "kernel/*.py")


def digest(source: str, strategy: Strategy) -> str:
    """A hash of the scenario's text, of the strategy's and of the model's: the same hash, the same question."""
    import hashlib
    import sys
    from pathlib import Path

    root = Path(__file__).parent
    values = [getattr(strategy, field.name) for field in attrs.fields(type(strategy))]
    modules = (sys.modules.get(getattr(value, "__module__", "")) for value in values if callable(value))
    files = {Path(module.__file__) for module in modules if module is not None and module.__file__ is not None}
    files.update(path for pattern in MODEL for path in root.glob(pattern))
    text = hashlib.sha256(f"{strategy.name}\n{source}".encode())
    for content in sorted(path.read_bytes() for path in files):
        text.update(content)
    return text.hexdigest()[:16]


def judged(task: Task, progress: Callable[[Progress], None] | None = None) -> Judged:
    """Carry out one task."""
    import time

    from mmsim import check
    from mmsim.report.judged import Judged
    from mmsim.verdict import Violated

    options = task.options
    start = time.monotonic()
    test = load(task.scenario, task.strategy, task.release)
    if options.walker is None:
        verdict = check.check(
            test, bounds=options.bounds(), reduce=options.reduce, first=options.first, progress=progress
        )
    else:
        verdict = check.sample(
            test,
            walker=options.walker,
            runs=options.runs,
            seed=options.seed,
            bounds=options.bounds(),
            progress=progress,
        )
    seconds = time.monotonic() - start
    execution = check.execute(test, verdict.violation.schedule) if isinstance(verdict, Violated) else None
    return Judged(test, verdict, check.judge(test, verdict), seconds, execution)


def answer(task: Task, progress: Callable[[Progress], None] | None = None) -> Answer:
    """Carry out one task and put it into words; runs in a process of its own under --jobs."""
    try:
        return put(judged(task, progress), task.options)
    except UserError:
        raise
    except Exception as error:
        error.add_note(f"judging {task.scenario} under {task.strategy}")
        raise


def put(found: Judged, options: Options) -> Answer:
    """One judged test in words."""
    from mmsim.report import json_, table, text
    from mmsim.verdict import Violated

    violation = found.verdict.violation if isinstance(found.verdict, Violated) else None
    entry = table.Entry(
        found.test.name,
        found.test.strategy.name,
        found.word,
        steps=len(violation.schedule.moves) if violation else 0,
        fits=found.judgement.as_expected,
        unwitnessed=bool(found.judgement.unwitnessed),
        expected=found.judgement.expected.value if found.judgement.expected else "nothing",
    )
    return Answer(
        text.verdict(found, all_steps=options.all_steps),
        json_.result(found, all_steps=options.all_steps),
        entry,
        found.status,
    )


def carry_out(tasks: Sequence[Task], jobs: int, meter: Callable[[str], Meter]) -> Iterator[Answer]:
    """The answers in the tasks' order, each as soon as it and those before it are there."""
    if jobs <= 1 or len(tasks) <= 1:
        for task in tasks:
            shown = meter(f"{task.scenario} {task.strategy}")
            try:
                yield answer(task, shown)
            finally:
                shown.end()
        return
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(min(jobs, len(tasks))) as pool:
        futures = [pool.submit(answer, task) for task in tasks]
        try:
            for future in futures:
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def plan(scenarios: Sequence[str], wanted: Sequence[str], release: str | None, options: Options) -> list[Task]:
    """Every pair to judge: the named strategies, or else those that a scenario has an expectation for."""
    from mmsim import catalogue

    if release is not None:
        find_release(release)
    tasks = [task for name in scenarios or catalogue.names() for task in tasks_of(name, wanted, release, options)]
    if not tasks:
        msg = f"{' '.join(scenarios)} expects nothing of any strategy; say with --strategy which one to judge"
        raise UserError(msg)
    return tasks


def tasks_of(scenario: str, wanted: Sequence[str], release: str | None, options: Options) -> list[Task]:
    """The part of a plan that is about one scenario."""
    from pathlib import Path

    from mmsim import catalogue

    known = strategies()
    wanted = [catalogue.located(text, Path()) for text in wanted]
    own = [find_strategy(text).name for text in wanted]
    tests: Sequence[tuple[str, str | None]] = catalogue.find(scenario, [*known, *own]).scenario.tests(known)
    if wanted:
        tests = [(text, on) for text in wanted for on in _releases_of(tests, text) or [None]]
    if release is not None:
        tests = list(dict.fromkeys((strategy, release) for strategy, _ in tests))
    return [Task(scenario, strategy, on, options) for strategy, on in tests]


def _releases_of(tests: Sequence[tuple[str, str | None]], strategy: str) -> list[str | None]:
    """On which releases a scenario has an expectation of this strategy."""
    return [on for name, on in tests if name == strategy]


def overall(statuses: Sequence[int]) -> int:
    """The exit status of several tests: a difference outweighs an undecided one."""
    return 1 if 1 in statuses else max(statuses, default=0)
