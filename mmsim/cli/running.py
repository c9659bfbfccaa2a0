"""list, conform: what there is, and runs on the running kernel."""

from __future__ import annotations

import click

from mmsim import batch
from mmsim.cli.base import (
    FORMAT,
    LINUX,
    RELEASE,
    SEED,
    TRACEBACK,
    Meter,
    as_json,
    main,
    processors,
    say,
)
from mmsim.errors import UserError


@main.command("list")
@click.argument("what", type=click.Choice(["scenarios", "strategies", "properties", "releases", "workloads"]))
@FORMAT
@TRACEBACK
def list_(what: str, form: str) -> None:
    """List what there is: scenarios, strategies, properties, releases or workloads."""
    from mmsim.report import listing

    rows = listing.ROWS[what]()
    say(as_json("list", [dict(row) for row in rows]) if form == "json" else listing.text(rows))


@main.command()
@click.argument("scenario", metavar="[SCENARIO | FILE.py]", required=False)
@LINUX
@RELEASE
@click.option("--all", "everything", is_flag=True, help="The whole catalogue, as where no scenario is named.")
@click.option("--runs", type=click.IntRange(min=1), help="How often to run a scenario.  [default: 1000]")
@click.option(
    "--random", "programs", type=click.IntRange(min=1), metavar="N", help="Perform N random programs instead."
)
@click.option(
    "--kernel",
    metavar="IMAGE",
    help="Perform them in this kernel: user-mode Linux, or an x86 bzImage, which boots in qemu.",
)
@click.option("--strace", "log", metavar="FILE", help="Replay a log of `strace -f` in the model instead.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="Stop after so long; of the catalogue, after so long with each scenario.  [default there: 5]",
)
@click.option("--jobs", type=click.IntRange(min=1), help="How many random programs at a time.  [default: one per CPU]")
@click.option("-v", "--verbose", is_flag=True, help="Of the catalogue: name what was not seen, and what is not run.")
@SEED
@FORMAT
@TRACEBACK
def conform(
    *,
    scenario: str | None,
    everything: bool,
    strategy: str,
    release: str | None,
    runs: int | None,
    verbose: bool,
    programs: int | None,
    kernel: str | None,
    log: str | None,
    seconds: float | None,
    jobs: int | None,
    seed: int,
    form: str,
) -> int:
    """Hold the model against the running kernel, or with --kernel against another.

    Run a SCENARIO there many times, or all of the catalogue, and judge each outcome by the model of that kernel's
    release; or with --random N perform N random programs of system calls, one call after the other, there and in the
    model: every answer has to be the same.  With --strace FILE the calls are those of any program that strace has
    recorded, and --release says on which kernel, if not on this one.
    """
    from mmsim.cli import conforming

    if log is not None:
        if (scenario, runs, programs, kernel, seconds, jobs, everything) != (*[None] * 6, False):
            raise UserError("--strace replays a log as it is: give it --release, --strategy and --format only")
        return conform_log(log, strategy, release, form)
    if programs is not None:
        if scenario is not None or runs is not None or everything:
            named = scenario or ("--all" if everything else "--runs")
            msg = f"--random makes programs of its own; leave {named!r} out"
            raise UserError(msg)
        if kernel is not None and jobs is not None:
            raise UserError("--kernel boots one kernel, which performs one program at a time; leave --jobs out")
        return conform_programs(programs, strategy, release, kernel, seconds, jobs, seed, form)
    if kernel is not None:
        raise UserError("--kernel performs random programs and no scenarios; add --random N")
    if jobs is not None:
        raise UserError("--jobs is for random programs, for scenarios have processes of their own; add --random N")
    plan = conforming.RunPlan(strategy, release, runs or conforming.RUNS, seconds, seed)
    if scenario is None:
        return conforming.conform_catalogue(plan, form, verbose=verbose)
    if everything:
        msg = f"--all runs the whole catalogue; leave {scenario!r} or --all out"
        raise UserError(msg)
    return conforming.conform_scenario(scenario, plan, form)


def conform_programs(
    programs: int,
    strategy: str,
    release: str | None,
    kernel: str | None,
    seconds: float | None,
    jobs: int | None,
    seed: int,
    form: str,
) -> int:
    """Random sequential programs."""
    from mmsim.cli.conforming import ended_by_sigterm
    from mmsim.conformance.kernels.guest import Guest
    from mmsim.conformance.kernels.image import image
    from mmsim.conformance.sequential import run
    from mmsim.report import json_
    from mmsim.report import programs as report

    where = "the running kernel" if kernel is None else kernel
    meter = Meter(f"programs on {where} and in the model")
    with ended_by_sigterm():
        result = run.conform_programs(
            programs,
            seed,
            batch.find_strategy(strategy),
            batch.find_release(release) if release else None,
            kernel=None if kernel is None else Guest(image(kernel)),
            seconds=seconds,
            jobs=jobs or processors(),
            progress=meter.runs,
        )
    meter.end()
    status = report.status(result)
    say(as_json("conform", [json_.programs(result)], status) if form == "json" else report.text(result))
    return status


def conform_log(log: str, strategy: str, release: str | None, form: str) -> int:
    """A log of strace."""
    from pathlib import Path

    from mmsim.conformance.recorded import run
    from mmsim.report import recorded

    known = batch.find_release(release) if release else None
    result = run.conform_log(Path(log), batch.find_strategy(strategy), known)
    status = recorded.status(result)
    say(as_json("conform", [recorded.as_data(result)], status) if form == "json" else recorded.text(result))
    return status
