"""check, compare, explain, replay: what a search says."""

from __future__ import annotations

import sys
from typing import Any, Final

import attrs
import click

from mmsim import batch
from mmsim.cli.base import (
    ALL_STEPS,
    BOUNDS,
    FORMAT,
    NAMES,
    ONE_SCENARIO,
    ONE_STRATEGY,
    RELEASE,
    SEED,
    STORE,
    TRACEBACK,
    WALKERS,
    Meter,
    as_json,
    chosen,
    main,
    processors,
    say,
    store_in,
)
from mmsim.cli.base import (
    form as formats,
)

SECONDS_PER_TEST: Final = 120.0
"""How long `compare` and `explain` search one test where nobody says: one that hangs must not hold up the table."""


@main.command()
@NAMES
@FORMAT
@BOUNDS
def check(
    *,
    scenarios: tuple[str, ...],
    form: str,
    strategies: tuple[str, ...],
    release: str | None,
    jobs: int | None,
    **options: Any,
) -> int:
    """Explore every interleaving of SCENARIOs and say what breaks.  All scenarios if none is named."""
    tasks = batch.plan(scenarios, strategies, release, chosen(options))
    statuses, results = [], []
    for number, one in enumerate(batch.carry_out(batch.recall(tasks, None), jobs or processors(), Meter)):
        statuses.append(one.status)
        results.append(one.json)
        if form == "text":
            say(f"\n{one.text}" if number else one.text)
    if form == "json":
        say(as_json("check", results, batch.overall(statuses)))
    return batch.overall(statuses)


@main.command()
@NAMES
@formats("markdown", "json")
@STORE
@BOUNDS
def compare(
    *,
    scenarios: tuple[str, ...],
    form: str,
    folder: str | None,
    fresh: bool,
    strategies: tuple[str, ...],
    release: str | None,
    jobs: int | None,
    max_seconds: float | None,
    **options: Any,
) -> int:
    """Judge every design on every scenario: right? refuses needlessly? who waits? at which price?

    Results are kept, and reused where neither scenario nor design nor model changed.  A search is given up after 120
    seconds unless --max-seconds says otherwise.  `mmsim explain DESIGN SCENARIO` says why a cell is what it is.
    """
    from mmsim.report import comparison, json_

    plan = batch.plan(
        scenarios, strategies, release, chosen({**options, "max_seconds": max_seconds or SECONDS_PER_TEST})
    )
    store = store_in(folder)
    known = batch.recall(plan, store)
    if fresh:
        known = attrs.evolve(known, known=[None] * len(plan))
    answers = list(batch.carry_out(known, jobs or processors(), Meter, store))
    status = batch.overall([one.status for one in answers])
    results = [one.json for one in answers]
    priced_on = release or comparison.PRICED_ON
    told = comparison.Comparison(
        comparison.designs(results, batch.designs(plan), priced_on),
        results,
        damaged=known.damaged,
        fresh=fresh,
        priced_on=priced_on,
    )
    if form == "json":
        say(as_json("compare", results, status, designs=[json_.design(one) for one in told.designs]))
    elif form == "markdown":
        say(comparison.markdown(told))
    else:
        say(comparison.text(told, colour=sys.stdout.isatty()))
    return status


@main.command()
@click.argument("design", metavar="DESIGN|FILE.py:NAME")
@ONE_SCENARIO
@RELEASE
@FORMAT
@STORE
@ALL_STEPS
@TRACEBACK
def explain(
    *,
    design: str,
    scenario: str,
    release: str | None,
    form: str,
    folder: str | None,
    fresh: bool,
    all_steps: bool,
) -> int:
    """Say why DESIGN gets the verdict it has on SCENARIO: the counterexample, or how it closes the hole."""
    from mmsim.report import explanation

    options = chosen({"unreduced": False, "max_seconds": SECONDS_PER_TEST, "all_steps": all_steps})
    tasks = batch.plan((scenario,), (design,), release, options)
    store = store_in(folder)
    known = batch.recall(tasks, store)
    if fresh:
        known = attrs.evolve(known, known=[None] * len(tasks))
    answers = list(batch.carry_out(known, 1, Meter, store))
    status = batch.overall([one.status for one in answers])
    if form == "json":
        say(as_json("explain", [one.json for one in answers], status))
        return status
    strategy = batch.find_strategy(design)
    for number, one in enumerate(answers):
        test = batch.load(scenario, design, one.json["test"]["release"])
        told = explanation.text(test.scenario, strategy, test.release, one.text, one.json)
        say(f"\n{told}" if number else told)
    return status


@main.command()
@ONE_SCENARIO
@ONE_STRATEGY
@RELEASE
@click.option("--schedule", required=True, metavar="TEXT", help='As a verdict prints it: "reader7 sealer4/1 device2".')
@click.option("--then", "walker", type=click.Choice(WALKERS), help="Go on at random where the schedule ends.")
@SEED
@ALL_STEPS
@FORMAT
@TRACEBACK
def replay(
    *,
    scenario: str,
    strategy: str,
    release: str | None,
    schedule: str,
    walker: str | None,
    seed: int,
    form: str,
    all_steps: bool,
) -> int:
    """Carry out one schedule and show what it does."""
    from mmsim import check as checker
    from mmsim.report import json_, text
    from mmsim.verdict import Expected

    test = batch.load(scenario, strategy, release)
    execution = checker.execute(test, checker.parse_schedule(schedule), then=walker, seed=seed)
    status = 1 if execution.violation is not None and test.expected is Expected.HOLDS else 0
    if form == "json":
        say(as_json("replay", [json_.replayed(test, execution, all_steps=all_steps)], status))
    else:
        say(text.execution(test.scenario, execution, all_steps=all_steps))
    return status
