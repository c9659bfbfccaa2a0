"""The command line: check, compare, replay, list, simulate, conform.

Exit status: 0 as expected; 1 a verdict differs from what is expected, or a `sometimes` was never seen; 2 bad input, in
one line on standard error; 3 undecided.  Everything heavy is imported inside the command that needs it, for a verdict
has to be there in half a second.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import click

from mmsim import batch
from mmsim.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mmsim.check import Progress

BAD_INPUT: Final = 2
UNDECIDED: Final = 3
BROKEN_PIPE: Final = 141  # as a shell reports a program that SIGPIPE ended
WALKERS: Final = ("uniform", "pct1", "pct2", "pct3", "pos")
SIZES: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class Size(click.ParamType[int]):
    """A number of bytes: `500M`, `2G`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of bytes, or a usage error."""
        if isinstance(value, int):
            return value
        text = str(value).strip().upper().removesuffix("B").removesuffix("I")
        unit = text[-1:] if text[-1:] in SIZES else ""
        number = text.removesuffix(unit)
        if not number.isdecimal() or not int(number):
            self.fail(f"{value!r} is no size; write for example 500M or 2G", param, ctx)
        return int(number) * SIZES[unit]


class Mmsim(click.Group):
    """The command group; whatever goes wrong is one line on standard error and an exit status."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with the nearest command's name where there is no such command."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"no command {args[0]!r}{nearest(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run and exit."""
        kwargs["standalone_mode"] = False
        run = functools.partial(super().main, *args, **kwargs)
        sys.exit(guarded(run))


def guarded(run: Callable[[], object]) -> int:
    """Carry out a command; the exit status, whatever happens."""
    try:
        status = run()
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except UserError as error:
        return complain(str(error))
    except click.ClickException as error:
        return complain(error.format_message())
    except (KeyboardInterrupt, click.Abort):
        return complain("Undecided: interrupted before there was anything to say", UNDECIDED)
    except (ReaderGone, BrokenPipeError):
        sys.stdout = cast("Any", None)  # or Python tries once more to write what is left, and complains
        return BROKEN_PIPE
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except Exception as error:  # the last resort: one line, never a stack trace
        if "--traceback" in sys.argv:
            raise
        what = ", ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])
        return complain(f"internal error, please report it: {what} (--traceback shows where)")
    return status if isinstance(status, int) else 0


class ReaderGone(Exception):
    """Nobody reads what is printed any more.  No OSError, for click would take that for its own."""


def say(text: str) -> None:
    """Print to standard output; the only place that does."""
    try:
        click.echo(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise ReaderGone from None


def complain(message: str, status: int = BAD_INPUT) -> int:
    """One line on standard error."""
    click.echo(f"mmsim: {' '.join(message.split())}", err=True)
    return status


def nearest(text: str, known: Sequence[str]) -> str:
    """`; did you mean ...?`, or ''."""
    import difflib

    close = difflib.get_close_matches(text, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"


class Meter:
    """Progress on standard error, where that is a terminal, from the first second on."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.shown = False

    def __call__(self, progress: Progress) -> None:
        """One line, over the one before."""
        if progress.seconds < 1 or not sys.stderr.isatty():
            return
        rate = progress.states / progress.seconds
        click.echo(
            f"\r{self.title}: {progress.states:,} states, {rate:,.0f}/s, depth {progress.depth}, "
            f"{progress.waiting:,} waiting, {progress.memory >> 20:,} MB\x1b[K",
            err=True,
            nl=False,
        )
        self.shown = True

    def runs(self, done: int, wanted: int) -> None:
        """The same for runs on a real kernel."""
        if sys.stderr.isatty():
            click.echo(f"\r{self.title}: {done:,} of {wanted:,} runs\x1b[K", err=True, nl=False)
            self.shown = True

    def end(self) -> None:
        """Wipe the line."""
        if self.shown:
            click.echo("\r\x1b[K", err=True, nl=False)


def processors() -> int:
    """How many tests to judge at a time where nobody says."""
    import multiprocessing

    return multiprocessing.cpu_count()


def common(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options in one decorator."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


FORMAT = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to answer.")
RELEASE = click.option("--release", metavar="NAME", help="The kernel release to model (`mmsim list releases`).")
STRATEGY = click.option(
    "--strategy", "strategies", multiple=True, metavar="NAME|FILE.py:NAME", help="May be given several times."
)
ONE_STRATEGY = click.option("--strategy", required=True, metavar="NAME|FILE.py:NAME", help="The strategy to run.")
SEED = click.option("--seed", type=int, default=0, show_default=True, help="Where random choices start from.")
ALL_STEPS = click.option("--all-steps", is_flag=True, help="Fold nothing away in a diagram.")
TRACEBACK = click.option("--traceback", is_flag=True, hidden=True, expose_value=False)
SEARCH = common(
    FORMAT,
    STRATEGY,
    RELEASE,
    click.option("--max-states", type=click.IntRange(min=1), help="Give up after so many states."),
    click.option("--max-seconds", type=click.FloatRange(min=0, min_open=True), help="Give up after so long."),
    click.option("--max-memory", type=Size(), metavar="SIZE", help="Give up beyond that: 500M, 2G."),
    click.option("--unreduced", is_flag=True, help="The reference search, without any reduction."),
    click.option("--first", is_flag=True, help="Stop at the shortest counterexample; other outcomes stay unknown."),
    click.option("--random", "walker", type=click.Choice(WALKERS), help="Sample schedules instead of exploring all."),
    click.option("--runs", type=click.IntRange(min=1), default=1000, show_default=True, help="How many samples."),
    SEED,
    click.option("--jobs", type=click.IntRange(min=1), help="How many tests at a time.  [default: one per CPU]"),
    ALL_STEPS,
    TRACEBACK,
)
ONE_SCENARIO = click.argument("scenario", metavar="SCENARIO|FILE.py")
LINUX = click.option(
    "--strategy",
    default="wait_for_pins",
    show_default=True,
    metavar="NAME|FILE.py:NAME",
    help="The strategy to run; Linux's own since v3.17 is the default.",
)
NAMES = click.argument("scenarios", nargs=-1, metavar="[SCENARIO | FILE.py]...")


@click.group(cls=Mmsim, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mmsim", message="mmsim %(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Judge ideas about Linux memory management: is it right, what does it cost, is the model true?"""
    if ctx.invoked_subcommand is None:
        say(ctx.get_help())


def chosen(options: dict[str, Any]) -> batch.Options:
    """The options of a search, out of what click hands over."""
    from mmsim.engine import localstate

    if not localstate.TRUSTED:
        told = "local states cannot be told on this Python, so histories are kept apart: right, but with more states"
        click.echo(f"mmsim: {told} (CPython 3.11 to 3.13 can tell them)", err=True)
    reduce = False if options.pop("unreduced") else None
    return batch.Options(reduce=reduce, **options)


@main.command()
@NAMES
@SEARCH
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
    for number, one in enumerate(batch.carry_out(tasks, jobs or processors(), Meter)):
        statuses.append(one.status)
        results.append(one.json)
        if form == "text":
            say(f"\n{one.text}" if number else one.text)
    if form == "json":
        say(_json("check", results, batch.overall(statuses)))
    return batch.overall(statuses)


@main.command()
@NAMES
@SEARCH
def compare(
    *,
    scenarios: tuple[str, ...],
    form: str,
    strategies: tuple[str, ...],
    release: str | None,
    jobs: int | None,
    **options: Any,
) -> int:
    """Judge every strategy on every scenario and print one table."""
    from mmsim.report import table

    tasks = batch.plan(scenarios, strategies, release, chosen(options))
    answers = list(batch.carry_out(tasks, jobs or processors(), Meter))
    status = batch.overall([one.status for one in answers])
    if form == "json":
        say(_json("compare", [one.json for one in answers], status))
    else:
        say(table.compare([one.entry for one in answers], colour=sys.stdout.isatty()))
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
        say(_json("replay", [json_.replayed(test, execution, all_steps=all_steps)], status))
    else:
        say(text.execution(test.scenario, execution, all_steps=all_steps))
    return status


def _json(command: str, results: Sequence[dict[str, Any]], status: int = 0) -> str:
    from mmsim.report import json_

    return json_.document(command, results, status)


@main.command("list")
@click.argument("what", type=click.Choice(["scenarios", "strategies", "properties", "releases"]))
@FORMAT
@TRACEBACK
def list_(what: str, form: str) -> None:
    """List what there is: scenarios, strategies, properties or releases."""
    from mmsim.report import listing

    rows = listing.ROWS[what]()
    say(_json("list", [dict(row) for row in rows]) if form == "json" else listing.text(rows))


@main.command()
@ONE_SCENARIO
@LINUX
@RELEASE
@SEED
@click.option("--cpus", type=click.IntRange(min=1), default=2, show_default=True, help="How many CPUs.")
@click.option("--step-ns", type=float, default=10.0, show_default=True, help="What a step costs.")
@click.option(
    "--delay", "delays", multiple=True, metavar="DEVICE=NS", help="How long a device takes; `DEVICE=never` is silent."
)
@click.option("--until", "until_ns", type=float, metavar="NS", help="Stop then.")
@click.option(
    "--stagger", "stagger_ns", type=float, default=0.0, metavar="NS", help="Each thread starts within this time."
)
@ALL_STEPS
@FORMAT
@TRACEBACK
def simulate(
    *,
    scenario: str,
    strategy: str,
    release: str | None,
    seed: int,
    cpus: int,
    step_ns: float,
    delays: tuple[str, ...],
    until_ns: float | None,
    stagger_ns: float,
    all_steps: bool,
    form: str,
) -> None:
    """Run a scenario once on a simulated clock and print its timeline."""
    from mmsim import machine, timed
    from mmsim.report import json_, timeline

    test = batch.load(scenario, strategy, release)
    result = timed.simulate(
        machine.boot(test.scenario, test.strategy, test.release),
        cpus=cpus,
        seed=seed,
        cost=timed.FlatCost(step_ns),
        delays=dict(map(delay, delays)),
        until_ns=until_ns,
        timeline=True,
        stagger_ns=stagger_ns,
    )
    if form == "json":
        say(_json("simulate", [json_.simulated(test, result)]))
    else:
        say(timeline.timeline_text(result, all_steps=all_steps).rstrip("\n"))


def delay(text: str) -> tuple[str, Any]:
    """`slow=100000` or `slow=never`."""
    from mmsim.timed import Fixed, Never

    device, equals, time = text.partition("=")
    if equals and time == "never":
        return device, Never()
    try:
        return device, Fixed(float(time))
    except ValueError:
        msg = f"--delay {text!r} is not understood; write DEVICE=NANOSECONDS or DEVICE=never"
        raise UserError(msg) from None


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
        say(_json("conform", [json_.conformed(test, result, complete=complete)], status))
    else:
        say(conformance.text(test, result, complete=complete))
    return status
