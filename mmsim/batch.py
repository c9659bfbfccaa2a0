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
    from mmsim.catalogue import LoadedScenario
    from mmsim.check import Bounds, Progress, Test
    from mmsim.kernel.releases import Release
    from mmsim.kernel.strategy import Strategy
    from mmsim.report.judged import Judged
    from mmsim.store import Kept, Store


class Meter(Protocol):
    """Shows how far one test is."""

    def __call__(self, progress: Progress, /) -> None:
        """Called now and then by a search."""

    def end(self) -> None:
        """The test is done."""

    def tests(self, done: int, wanted: int) -> None:
        """How many tests are done."""


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
    kept_as: str = ""
    """What a store knows the test by."""
    key: str = ""
    """A digest of everything its answer depends on."""


@attrs.frozen
class Answer:
    """What came of a task, already put into words: values of a user's own classes need not travel."""

    text: str
    json: dict[str, Any]
    status: int
    complete: bool = False
    """Whether nothing but another question could change it: every interleaving was explored."""
    reused: bool = False


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
    return check.Test(found.name, judged, chosen, on, question(found, chosen), (scenario, asked))


def question(found: LoadedScenario, strategy: Strategy) -> str:
    """A hash of the texts of scenario, strategy and model: the same hash, the same question."""
    from mmsim import digest

    scenario = digest.of_scenario(found.path, found.source)
    return digest.digest(scenario, digest.of_strategy(strategy), digest.of_model())


def judged(task: Task, progress: Callable[[Progress], None] | None = None) -> Judged:
    """Carry out one task."""
    return judged_test(load(task.scenario, task.strategy, task.release), task.options, progress)


def judged_test(test: Test, options: Options, progress: Callable[[Progress], None] | None = None) -> Judged:
    """Judge one test, which may be about values that no other process has."""
    import time

    from mmsim import check
    from mmsim.report.judged import Judged
    from mmsim.verdict import Violated

    start = time.monotonic()
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


def answer(task: Task, progress: Callable[[Progress], None] | None = None, store: Store | None = None) -> Answer:
    """Carry out one task, put it into words and keep it; runs in a process of its own under --jobs."""
    try:
        told = put(judged(task, progress), task.options)
    except UserError:
        raise
    except Exception as error:
        error.add_note(f"judging {task.scenario} under {task.strategy}")
        raise
    if store is not None and told.complete and task.key:
        kept = {"text": told.text, "json": told.json, "status": told.status}
        store.put(task.kept_as, task.key, kept, told.json["seconds"])
    return told


def put(found: Judged, options: Options) -> Answer:
    """One judged test in words."""
    from mmsim.report import json_, text

    return Answer(
        text.verdict(found, all_steps=options.all_steps),
        json_.result(found, all_steps=options.all_steps),
        found.status,
        found.verdict.coverage.how == "exhaustive",
    )


def kept_answer(kept: Kept) -> Answer | None:
    """The answer that a store has, as if it had just been found."""
    if kept.answer is None:
        return None
    found = kept.answer
    return Answer(found["text"], {**found["json"], "reused": True}, found["status"], complete=True, reused=True)


@attrs.frozen
class Batch:
    """Tasks, with what was known of each before: those without an answer are to be carried out."""

    tasks: Sequence[Task]
    known: Sequence[Answer | None]
    seconds: Sequence[float | None]
    damaged: int = 0
    """How many results that were kept could not be used."""


def recall(tasks: Sequence[Task], store: Store | None) -> Batch:
    """What a store knows of these tasks."""
    from mmsim.store import Kept

    kept = [Kept() if store is None or not task.key else store.get(task.kept_as, task.key) for task in tasks]
    return Batch(
        tasks, [kept_answer(one) for one in kept], [one.seconds for one in kept], sum(one.damaged for one in kept)
    )


def carry_out(batch: Batch, jobs: int, meter: Callable[[str], Meter], store: Store | None = None) -> Iterator[Answer]:
    """The answers in the tasks' order, each as soon as it and those before it are there."""
    ready = {number: one for number, one in enumerate(batch.known) if one is not None}
    todo = [number for number in range(len(batch.tasks)) if number not in ready]
    if jobs <= 1 or len(todo) <= 1:
        for number, task in enumerate(batch.tasks):
            if number in ready:
                yield ready[number]
                continue
            shown = meter(f"{task.scenario} {task.strategy}")
            try:
                yield answer(task, shown, store)
            finally:
                shown.end()
        return
    from concurrent.futures import BrokenExecutor

    from mmsim.jobs import Jobs, Processes, died

    # what took longest begins first, and what was never timed before that: nothing long is left for the end
    todo.sort(key=lambda number: -(batch.seconds[number] or float("inf")))
    shown = meter("judged")
    following = 0
    pool = Processes(min(jobs, len(todo)))
    try:
        with Jobs[int](pool) as under_way:
            for number in todo:
                under_way.submit(number, answer, batch.tasks[number], None, store)
            while under_way:
                number, future = under_way.take()
                try:
                    ready[number] = future.result()
                except BrokenExecutor as error:
                    raise died(error) from None
                shown.tests(len(ready), len(batch.tasks))
                while following in ready:
                    yield ready[following]
                    following += 1
    finally:
        shown.end()
        pool.shutdown(wait=False)


class Keys:
    """What tasks are kept as, and under which key; each text is read once."""

    def __init__(self, options: Options) -> None:
        from mmsim import digest

        # a bound that was not reached changes nothing, and what reached one is not kept
        self.how = digest.digest(options.reduce, options.first, options.all_steps)
        self.kept = options.walker is None
        self.model = digest.digest(digest.of_model(), digest.of_words(), self.how)
        self.digest = digest
        self.scenarios: dict[str, str] = {}
        self.strategies: dict[str, tuple[Strategy, str]] = {}

    def of(self, found: LoadedScenario, strategy: str, release: str | None) -> tuple[str, str]:
        """(kept as, key) of one test; ('', '') where samples are taken, for they are no answers."""
        from pathlib import Path

        if not self.kept:
            return "", ""
        where = str(found.path.resolve())
        if where not in self.scenarios:
            self.scenarios[where] = self.digest.of_scenario(found.path, found.source)
        if strategy not in self.strategies:
            design = find_strategy(strategy)
            self.strategies[strategy] = design, self.digest.of_strategy(design)
        design, text = self.strategies[strategy]
        on = release or found.scenario.release
        expected = found.scenario.expected(design.name, on, strategies())
        file, colon, name = strategy.rpartition(":")
        whose = f"{Path(file).resolve()}:{name}" if colon else name
        return (
            f"{where}\n{whose}\n{on}\n{self.how}",
            self.digest.digest(self.scenarios[where], text, self.model, on, expected),
        )


def plan(scenarios: Sequence[str], wanted: Sequence[str], release: str | None, options: Options) -> list[Task]:
    """Every pair to judge: the named strategies, or else those that a scenario has an expectation for."""
    from mmsim import catalogue

    if release is not None:
        find_release(release)
    keys = Keys(options)
    named = scenarios or catalogue.names()
    tasks = [task for name in named for task in tasks_of(name, wanted, release, options, keys)]
    if not tasks:
        msg = f"{' '.join(scenarios)} expects nothing of any strategy; say with --strategy which one to judge"
        raise UserError(msg)
    return tasks


def designs(tasks: Sequence[Task]) -> dict[str, Strategy]:
    """The strategies that tasks are about, by name."""
    found = (find_strategy(text) for text in dict.fromkeys(task.strategy for task in tasks))
    return {strategy.name: strategy for strategy in found}


def tasks_of(
    scenario: str, wanted: Sequence[str], release: str | None, options: Options, keys: Keys | None = None
) -> list[Task]:
    """The part of a plan that is about one scenario."""
    from pathlib import Path

    from mmsim import catalogue

    known = strategies()
    wanted = [catalogue.located(text, Path()) for text in wanted]
    own = [find_strategy(text).name for text in wanted]
    found = catalogue.find(scenario, [*known, *own])
    tests: Sequence[tuple[str, str | None]] = found.scenario.tests(known)
    if wanted:
        tests = [(text, on) for text in wanted for on in _releases_of(tests, text) or [None]]
    if release is not None:
        judged = found.scenario
        tests = [
            (strategy, release)
            for strategy in dict.fromkeys(strategy for strategy, _ in tests)
            if wanted or not judged.history or judged.expected(strategy, release, known) is not None
        ]
    keys = keys or Keys(options)
    return [Task(scenario, strategy, on, options, *keys.of(found, strategy, on)) for strategy, on in tests]


def _releases_of(tests: Sequence[tuple[str, str | None]], strategy: str) -> list[str | None]:
    """On which releases a scenario has an expectation of this strategy."""
    return [on for name, on in tests if name == strategy]


def overall(statuses: Sequence[int]) -> int:
    """The exit status of several tests: a difference outweighs an undecided one."""
    return 1 if 1 in statuses else max(statuses, default=0)
