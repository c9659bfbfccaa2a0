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
@click.option("--runs", type=click.IntRange(min=1), help="How often to run the scenario.  [default: 1000]")
@click.option(
    "--random", "programs", type=click.IntRange(min=1), metavar="N", help="Perform N random programs instead."
)
@click.option(
    "--kernel",
    metavar="IMAGE",
    help="Perform them in this kernel: user-mode Linux, or an x86 bzImage, which boots in qemu.",
)
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after so long.")
@SEED
@FORMAT
@TRACEBACK
def conform(
    *,
    scenario: str | None,
    strategy: str,
    release: str | None,
    runs: int | None,
    programs: int | None,
    kernel: str | None,
    seconds: float | None,
    seed: int,
    form: str,
) -> int:
    """Hold the model against the running kernel, or with --kernel against another.

    Run a SCENARIO there and judge each outcome by the model, or with --random N perform N random programs of system
    calls, one call after the other, there and in the model: every answer has to be the same.
    """
    if programs is not None:
        if scenario is not None or runs is not None:
            msg = f"--random makes programs of its own; leave {'--runs' if scenario is None else scenario!r} out"
            raise UserError(msg)
        return conform_programs(programs, strategy, release, kernel, seconds, seed, form)
    if kernel is not None:
        raise UserError("--kernel performs random programs and no scenarios; add --random N")
    if scenario is None:
        raise UserError("conform takes a SCENARIO to run on the running kernel, or --random N")
    return conform_scenario(scenario, strategy, release, runs or 1000, seconds, seed, form)


def conform_programs(
    programs: int,
    strategy: str,
    release: str | None,
    kernel: str | None,
    seconds: float | None,
    seed: int,
    form: str,
) -> int:
    """Random sequential programs."""
    from mmsim.conformance.kernels.guest import Guest
    from mmsim.conformance.kernels.image import image
    from mmsim.conformance.sequential import run
    from mmsim.report import json_
    from mmsim.report import programs as report

    where = "the running kernel" if kernel is None else kernel
    meter = Meter(f"programs on {where} and in the model")
    result = run.conform_programs(
        programs,
        seed,
        batch.find_strategy(strategy),
        batch.find_release(release) if release else None,
        kernel=None if kernel is None else Guest(image(kernel)),
        seconds=seconds,
        progress=meter.runs,
    )
    meter.end()
    status = report.status(result)
    say(as_json("conform", [json_.programs(result)], status) if form == "json" else report.text(result))
    return status


def conform_scenario(
    scenario: str, strategy: str, release: str | None, runs: int, seconds: float | None, seed: int, form: str
) -> int:
    """One scenario, many times."""
    from mmsim import check as checker
    from mmsim.conformance import run
    from mmsim.report import conformance, json_
    from mmsim.verdict import Holds

    test = batch.load(scenario, strategy, release)
    run.refuse_model_only(test.scenario)  # before the model is searched for nothing
    meter = Meter(f"{test.name} on the running kernel")
    verdict = checker.check(test, progress=meter)
    meter.end()
    complete = isinstance(verdict, Holds)
    result = run.conform(
        test.scenario,
        verdict.outcomes if complete else None,
        runs=runs,
        seed=seed,
        seconds=seconds,
        progress=meter.runs,
    )
    meter.end()
    status = conformance.status(result, complete=complete)
    if form == "json":
        say(as_json("conform", [json_.conformed(test, result, complete=complete)], status))
    else:
        say(conformance.text(test, result, complete=complete))
    return status
