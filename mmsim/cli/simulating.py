"""simulate: a scenario once on a simulated clock, with its timeline; or a workload, again and again, with its costs."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from mmsim import batch
from mmsim.cli.base import (
    ALL_STEPS,
    RELEASE,
    SEED,
    STRATEGY,
    TRACEBACK,
    UNDECIDED,
    as_json,
    form,
    main,
    processors,
    say,
)
from mmsim.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from mmsim.timed.workloads import Measurement

LINUX: Final = "wait_for_pins"
"""Linux's own since v3.17: what is run where nobody says."""

OF_A_SCENARIO: Final = ("step_ns", "until_ns", "stagger_ns", "all_steps")
OF_A_WORKLOAD: Final = (
    "seconds", "repeats", "baseline", "processes", "pages", "depth", "channels", "jobs", "dask", "plot", "watch",
)  # fmt: skip
WORKLOAD_RELEASE: Final = "v6.18"


def at_least_one(flag: str, text: str, default: int | None) -> Callable[[Any], Any]:
    """An option that takes a count."""
    return click.option(flag, type=click.IntRange(min=1), default=default, show_default=default is not None, help=text)


@main.command()
@click.argument("name", metavar="WORKLOAD|SCENARIO|FILE.py")
@STRATEGY
@RELEASE
@SEED
@click.option("--cpus", "cpus", default="2", show_default=True, metavar="N[,N...]", help="How many CPUs.")
@click.option("--cost", metavar="NAME|FILE.toml", help="What steps take: cloud, server, board, or a file's figures.")
@click.option(
    "--delay", "delays", multiple=True, metavar="DEVICE=DELAY", help="`slow=nvme`, `slow=80us`, `slow=never`, ..."
)
@click.option("--step-ns", type=float, default=10.0, show_default=True, help="Scenario: what a step costs.")
@click.option("--until", "until_ns", type=float, metavar="NS", help="Scenario: stop then.")
@click.option("--stagger", "stagger_ns", type=float, default=0.0, metavar="NS", help="Scenario: threads start within.")
@ALL_STEPS
@click.option("--seconds", type=float, help="Workload: simulated seconds.  [default: the workload's own]")
@at_least_one("--repeats", "Workload: runs of each point, from --seed on.", 3)
@click.option("--baseline", metavar="NAME|FILE.py:NAME", help="Workload: print ratios to this strategy.")
@at_least_one("--processes", "Workload: how many.  [default: one for each CPU]", None)
@at_least_one("--pages", "Workload: of each file.", 1)
@at_least_one("--depth", "Workload: requests under way.", 4)
@at_least_one("--channels", "Workload: requests that a disk serves at a time.  [default: all under way]", None)
@at_least_one("--jobs", "Workload: how many runs at a time.  [default: one per CPU]", None)
@click.option("--dask", metavar="ADDRESS", help="Workload: run on the workers of this Dask scheduler.")
@click.option("--plot", metavar="FILE.png|FILE.svg", help="Workload: draw the results into this file.")
@click.option("--watch", is_flag=True, help="Workload: judge every step by the checker's always-on properties.")
@form("json", "csv")
@TRACEBACK
@click.pass_context
def simulate(ctx: click.Context, /, *, name: str, form: str, **options: Any) -> int:
    """Run a scenario once on a simulated clock and print its timeline, or measure what a workload costs."""
    from mmsim.timed.workloads import WORKLOADS

    given = {key for key in options if ctx.get_parameter_source(key) is ParameterSource.COMMANDLINE}
    kind, foreign = ("workload", OF_A_SCENARIO) if name in WORKLOADS else ("scenario", OF_A_WORKLOAD)
    if kind == "scenario":
        _refuse_unknown(name)
    for key in foreign:
        if key in given:
            flag = next(p.opts[0] for p in ctx.command.params if p.name == key)
            msg = f"{flag} means nothing for {name}, which is a {kind}"
            raise UserError(msg)
    return _workload(name, form, **options) if kind == "workload" else _scenario(name, form, **options)


def _refuse_unknown(name: str) -> None:
    """A name that is neither: the nearest of both kinds."""
    from mmsim import catalogue
    from mmsim.timed.workloads import WORKLOADS

    if name.endswith(".py") or "/" in name or name in catalogue.names():
        return
    known = [*WORKLOADS, *catalogue.names()]
    msg = f"there is no workload and no scenario {name!r}; " + catalogue.suggestion(
        name, known, f"the workloads are {', '.join(WORKLOADS)}"
    )
    raise UserError(msg)


def _scenario(name: str, form: str, **options: Any) -> int:
    from mmsim import api, sweep
    from mmsim.report import json_, timeline
    from mmsim.timed.devices import device_delay

    strategies, cpus = options["strategies"] or (LINUX,), sweep.counts(options["cpus"])
    if len(strategies) > 1 or len(cpus) > 1 or form == "csv":
        msg = f"{name} is a scenario, which is run once: under one strategy, with one number of CPUs, as text or json"
        raise UserError(msg)
    run = api.simulate(
        name,
        strategies[0],
        cpus=cpus[0],
        delays=dict(map(device_delay, options["delays"])),
        **{key: options[key] for key in ("release", "seed", "cost", "step_ns", "until_ns", "stagger_ns")},
    )
    if form == "json":
        say(as_json("simulate", [json_.simulated(run.test, run.result)]))
    else:
        say(timeline.timeline_text(run.result, all_steps=options["all_steps"]).rstrip("\n"))
    return 0


def _workload(name: str, form: str, **options: Any) -> int:
    from mmsim import sweep
    from mmsim.report import costs, plots

    if options["plot"] is not None:
        plots.check(options["plot"])
    if len(options["delays"]) > 1:
        msg = f"--delay is given {len(options['delays'])} times, but the devices of {name} are all alike"
        raise UserError(msg)
    baseline = options["baseline"]
    strategies = [*([baseline] if baseline else []), *(options["strategies"] or ([] if baseline else [LINUX]))]
    points = sweep.plan(
        name,
        strategies,
        options["release"] or WORKLOAD_RELEASE,
        options["cost"] or "cloud",
        sweep.counts(options["cpus"]),
        repeats=options["repeats"],
        seed=options["seed"],
        delay=next(iter(options["delays"]), None),
        **{key: options[key] for key in ("seconds", "processes", "pages", "depth", "channels", "watch")},
    )
    found, complete = _measured(name, points, options["dask"], options["jobs"])
    broken = any(one.violation is not None for one in found)
    status = 1 if broken else 0 if complete else UNDECIDED
    named = batch.find_strategy(baseline).name if baseline else None
    if form == "json":
        say(as_json("simulate", [costs.as_record(one) for one in found], status))
    elif form == "csv":
        say(costs.as_csv(found))
    else:
        say(costs.text(found, named))
    if options["plot"] is not None and found:
        plots.draw(found, options["plot"])
    if not complete:
        click.echo(f"mmsim: interrupted: {len(found)} of {len(points)} runs were measured", err=True)
    return status


def _measured(name: str, points: Any, dask: str | None, jobs: int | None) -> tuple[list[Measurement], bool]:
    """What was measured, in the order in which it was planned; and whether that is all."""
    from mmsim import sweep
    from mmsim.timed import Ended

    found: dict[Any, Measurement] = {}
    with contextlib.ExitStack() as stack:
        executor = _executor(dask, min(jobs or processors(), len(points)))
        if executor is not None:
            stack.callback(executor.shutdown, wait=False)  # what is interrupted is told of at once
        stack.callback(click.echo, "\r\x1b[K" if sys.stderr.isatty() else "", err=True, nl=False)
        with contextlib.suppress(KeyboardInterrupt):
            for point, one in sweep.carry_out(points, executor, lambda *told: _show(name, *told)):
                if one.ended is Ended.INTERRUPTED:
                    break
                found[point] = one
    return [found[point] for point in points if point in found], len(found) == len(points)


def _executor(dask: str | None, jobs: int) -> Executor | None:
    """Who measures, if not this process."""
    from mmsim import sweep
    from mmsim.jobs import Processes

    if dask is not None:
        return sweep.cluster(dask)
    return Processes(jobs) if jobs > 1 else None


def _show(name: str, done: int, wanted: int, seconds_left: float) -> None:
    """A bar, and the time left."""
    if sys.stderr.isatty():
        filled = 30 * done // wanted
        bar = "#" * filled + "." * (30 - filled)
        click.echo(f"\r{name}: [{bar}] {done} of {wanted} runs, {seconds_left:.0f} s left\x1b[K", err=True, nl=False)
