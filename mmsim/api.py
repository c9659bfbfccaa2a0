"""mmsim from Python: the commands as functions, for notebooks and programs.

    from mmsim.api import check, compare, explain, replay, simulate, measure, conform, conform_programs

    check("dio_completes_after_seal", "sealing_v2")

Wherever the command line takes a name or a file, a function also takes the thing itself: a `Scenario` or a `Strategy`
that was made a moment ago, in a cell of a notebook.  What comes back prints as the command would (`print(check(...))`),
displays itself in a notebook, and has everything as plain values.

Answers are found anew each time, in this process: nothing is kept, for there is no file whose text would say whether a
value of a session has changed.  Ctrl-C ends a search with an Undecided verdict.  Every mistake is a `UserError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from mmsim import batch, session
from mmsim import check as checker
from mmsim.errors import UserError
from mmsim.kernel.strategy import Strategy
from mmsim.report.answers import Conformed, Costs, Explanation, ProgramsConformed, Replayed, Simulated
from mmsim.report.comparison import PRICED_ON, Comparison, designs
from mmsim.report.judged import Judged
from mmsim.scenario import LINUX_CARRIES, Scenario
from mmsim.verdict import Holds

if TYPE_CHECKING:
    from mmsim.timed import Delay
    from mmsim.timed.workloads import Measurement

__all__ = ["UserError", "check", "compare", "conform", "conform_programs", "explain", "measure", "replay", "simulate"]

T = TypeVar("T")

SECONDS_PER_TEST: Final = 120.0
"""How long `compare` and `explain` search one test where nobody says."""
MEASURED_ON: Final = "v6.18"
"""The release that workloads are measured on where nobody says."""


def check(
    scenario: str | Scenario,
    strategy: str | Strategy = LINUX_CARRIES,
    *,
    release: str | None = None,
    first: bool = False,
    max_states: int | None = None,
    max_seconds: float | None = None,
    max_memory: int | None = None,
    random: str | None = None,
    runs: int = 1000,
    seed: int = 0,
) -> Judged:
    """Explore every interleaving of a scenario under a strategy, as `mmsim check` does.

    `scenario` and `strategy` are names, files (`race.py`, `mine.py:mine`) or values.  `first` stops at the shortest
    counterexample; the bounds are in states, seconds and bytes; `random` (`uniform`, `pct3`, `pos`) takes `runs`
    samples instead.  Raises UserError.
    """
    options = batch.Options(
        max_states=max_states,
        max_seconds=max_seconds,
        max_memory=max_memory,
        first=first,
        walker=random,
        runs=runs,
        seed=seed,
    )
    return session.told(batch.judged_test(session.asked(scenario, strategy, release), options))


def compare(
    *scenarios: str | Scenario,
    strategies: Iterable[str | Strategy] = (),
    release: str | None = None,
    max_seconds: float = SECONDS_PER_TEST,
) -> Comparison:
    """Judge designs on scenarios, as `mmsim compare` does, one test after the other.

    Without `strategies`, those that each scenario has an expectation for.  `max_seconds` bounds each test.  The whole
    catalogue is better compared on the command line, which keeps results and uses every CPU.  Raises UserError.
    """
    if not scenarios:
        raise UserError("compare() takes at least one scenario: compare('dio_completes_after_seal', strategies=[...])")
    wanted = [strategies] if isinstance(strategies, str | Strategy) else list(strategies)
    tests = [test for scenario in scenarios for test in session.tests(scenario, wanted, release)]
    session.told_apart(wanted)
    known = {test.strategy.name: test.strategy for test in tests}
    from mmsim.report import json_

    options = batch.Options(max_seconds=max_seconds)
    results = [json_.result(session.told(batch.judged_test(test, options))) for test in tests]
    priced_on = release or PRICED_ON
    return Comparison(designs(results, known, priced_on), results, priced_on=priced_on)


def explain(
    scenario: str | Scenario,
    strategy: str | Strategy = LINUX_CARRIES,
    *,
    release: str | None = None,
    max_seconds: float = SECONDS_PER_TEST,
) -> Explanation:
    """A verdict with its reasons: what was seen beside it, what the design argues and what it costs.  UserError."""
    return Explanation(check(scenario, strategy, release=release, max_seconds=max_seconds))


def replay(
    scenario: str | Scenario,
    strategy: str | Strategy,
    schedule: str,
    *,
    release: str | None = None,
    then: str | None = None,
    seed: int = 0,
) -> Replayed:
    """Carry out one schedule (`reader7 sealer4/1 device2`); with `then`, go on at random from its end.  UserError."""
    test = session.asked(scenario, strategy, release)
    execution = checker.execute(test, checker.parse_schedule(schedule), then=then, seed=seed)
    return Replayed(test, session.in_cells(execution))


def simulate(
    scenario: str | Scenario,
    strategy: str | Strategy = LINUX_CARRIES,
    *,
    release: str | None = None,
    cpus: int = 2,
    seed: int = 0,
    cost: str | None = None,
    step_ns: float = 10.0,
    delays: Mapping[str, str | Delay] | None = None,
    until_ns: float | None = None,
    stagger_ns: float = 0.0,
) -> Simulated:
    """Run a scenario once on a simulated clock, as `mmsim simulate SCENARIO` does.

    Every step takes `step_ns`, or what the cost model `cost` (a preset's name or a TOML file) says.  `delays` says for
    each device how long it takes to answer: `{"slow": "80us"}`, `"nvme"`, `"never"`.  Raises UserError.
    """
    from mmsim import machine, timed
    from mmsim.timed.costfile import figures
    from mmsim.timed.devices import device_delay
    from mmsim.timed.layout import layout_of

    test = session.asked(scenario, strategy, release)
    booted = machine.boot(test.scenario, test.strategy, test.release)
    chosen: timed.Cost = timed.FlatCost(step_ns)
    if cost is not None:
        of_lines = figures(cost)
        chosen = timed.CacheCost(of_lines, layout_of(booted.world, test.release, test.strategy, of_lines))
    result = timed.simulate(
        booted,
        cpus=cpus,
        seed=seed,
        cost=chosen,
        delays={
            device: device_delay(f"{device}={delay}")[1] if isinstance(delay, str) else delay
            for device, delay in (delays or {}).items()
        },
        until_ns=until_ns,
        timeline=True,
        stagger_ns=stagger_ns,
    )
    return Simulated(test, result)


def measure(
    workload: str,
    *strategies: str | Strategy,
    baseline: str | Strategy | None = None,
    cpus: int | str | Sequence[int] = 2,
    repeats: int = 3,
    seconds: float | None = None,
    release: str = MEASURED_ON,
    cost: str = "cloud",
    seed: int = 0,
    delay: str | None = None,
    processes: int | None = None,
    pages: int = 1,
    depth: int = 4,
    channels: int | None = None,
    watch: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Costs:
    """What a workload costs under each design, as `mmsim simulate WORKLOAD` measures it; one run after the other.

    `cpus` is a number, several, or `"1,2,...,16"`; `seconds` are simulated ones; `repeats` runs of each point, from
    `seed` on.  Ratios are to `baseline`, which is measured too.  `progress(done, wanted)` is told of each run.
    Raises UserError.
    """
    from mmsim import sweep

    wanted = [
        *([] if baseline is None else [baseline]),
        *(strategies or ([] if baseline is not None else [LINUX_CARRIES])),
    ]
    by_name = session.told_apart(wanted)
    text = cpus if isinstance(cpus, str) else ",".join(map(str, [cpus] if isinstance(cpus, int) else cpus))
    points = sweep.plan(
        workload, list(by_name), release, cost, sweep.counts(text), known=by_name,
        repeats=repeats, seed=seed, delay=delay, seconds=seconds, processes=processes, pages=pages, depth=depth,
        channels=channels, watch=watch,
    )  # fmt: skip
    measured: list[Measurement] = []
    for number, point in enumerate(points, 1):
        measured.append(sweep.measured(point, by_name[point.strategy]))
        if progress is not None:
            progress(number, len(points))
    return Costs(tuple(measured), None if baseline is None else next(iter(by_name)))


def conform(
    scenario: str | Scenario,
    strategy: str | Strategy = LINUX_CARRIES,
    *,
    release: str | None = None,
    runs: int = 1000,
    seconds: float | None = None,
    seed: int = 0,
) -> Conformed:
    """Run a scenario on the running kernel and judge each outcome by the model, as `mmsim conform` does.

    Where this machine does not allow it, `result.skipped` says why.  Raises UserError, also for a scenario that is not
    in a file of its own: another process has to import it.
    """
    from mmsim.conformance import run

    test = session.asked(scenario, strategy, release)
    run.refuse_model_only(test.scenario)
    verdict = checker.check(test)
    complete = isinstance(verdict, Holds)
    allowed = verdict.outcomes if complete else None
    return Conformed(test, run.conform(test.scenario, allowed, runs=runs, seed=seed, seconds=seconds), complete)


def conform_programs(
    count: int,
    strategy: str | Strategy = LINUX_CARRIES,
    *,
    release: str | None = None,
    seconds: float | None = None,
    seed: int = 0,
) -> ProgramsConformed:
    """Perform random programs on the running kernel and in the model, as `mmsim conform --random` does.  UserError."""
    from mmsim.conformance.sequential import run

    on = None if release is None else batch.find_release(release)
    return ProgramsConformed(run.conform_programs(count, seed, session.design_of(strategy), on, seconds=seconds))
