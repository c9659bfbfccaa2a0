"""emit-c: a scenario as a C program."""

from __future__ import annotations

from pathlib import Path

import click

from mmsim import batch
from mmsim.cli.base import ONE_SCENARIO, TRACEBACK, main, say
from mmsim.errors import UserError


@main.command("emit-c")
@ONE_SCENARIO
@click.option("--schedule", metavar="SCHEDULE", help="As for replay.  [default: one call after the other]")
@click.option(
    "--release", metavar="NAME", help="The release whose answers are expected.  [default: the running kernel's]"
)
@click.option("-o", "--output", metavar="FILE.c", help="Where to write it.  [default: standard output]")
@TRACEBACK
def emit_c(*, scenario: str, schedule: str | None, release: str | None, output: str | None) -> None:
    """Write a C program, in the manner of kselftest, that performs SCENARIO's calls in one order and checks answers.

    It prints TAP; the answers expected are those of the model under Linux's own design (wait_for_pins).  The slow
    device is a FUSE file of the program itself, whose answer is a step of its own.
    """
    from mmsim import check as checker
    from mmsim.conformance import profile
    from mmsim.emit import emit
    from mmsim.scenario import LINUX_CARRIES

    test = batch.load(scenario, LINUX_CARRIES, release or profile.running().name)
    text = emit.emit(test, checker.parse_schedule(schedule) if schedule is not None else None)
    if output is None:
        say(text.rstrip("\n"))
        return
    try:
        Path(output).write_text(text)
    except OSError as error:
        msg = f"{output!r} cannot be written: {error.strerror}"
        raise UserError(msg) from None
