"""list, conform: what there is, and runs on the running kernel."""

from __future__ import annotations

import click

from mmsim import batch
from mmsim.cli.base import (
    FORMAT,
    LINUX,
    ONE_SCENARIO,
    RELEASE,
    SEED,
    TRACEBACK,
    Meter,
    as_json,
    main,
    say,
)


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
@ONE_SCENARIO
@LINUX
@RELEASE
@click.option("--runs", type=click.IntRange(min=1), default=1000, show_default=True, help="How often to run it.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after so long.")
@SEED
@FORMAT
@TRACEBACK
def conform(
    *, scenario: str, strategy: str, release: str | None, runs: int, seconds: float | None, seed: int, form: str
) -> int:
    """Run a scenario on the running kernel and judge each outcome by the model."""
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
