"""What all commands share: options, errors, exit statuses, progress.

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
    from mmsim.store import Store

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

    def tests(self, done: int, wanted: int) -> None:
        """The same for the tests of one command."""
        if sys.stderr.isatty():
            click.echo(f"\r{self.title}: {done:,} of {wanted:,} tests\x1b[K", err=True, nl=False)
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


def form(*names: str) -> Callable[[Any], Any]:
    """--format, with text and these."""
    return click.option("--format", "form", type=click.Choice(["text", *names]), default="text", help="How to answer.")


FORMAT = form("json")
RELEASE = click.option("--release", metavar="NAME", help="The kernel release to model (`mmsim list releases`).")
STRATEGY = click.option(
    "--strategy", "strategies", multiple=True, metavar="NAME|FILE.py:NAME", help="May be given several times."
)
ONE_STRATEGY = click.option("--strategy", required=True, metavar="NAME|FILE.py:NAME", help="The strategy to run.")
SEED = click.option("--seed", type=int, default=0, show_default=True, help="Where random choices start from.")
ALL_STEPS = click.option("--all-steps", is_flag=True, help="Fold nothing away in a diagram.")
TRACEBACK = click.option("--traceback", is_flag=True, hidden=True, expose_value=False)
BOUNDS = common(
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
STORE = common(
    click.option("--store", "folder", metavar="DIR", help="Where results are kept.  [default: the user's cache]"),
    click.option("--fresh", is_flag=True, help="Judge everything anew, whatever was kept."),
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


def as_json(command: str, results: Sequence[dict[str, Any]], status: int = 0, **more: Any) -> str:
    """A command's whole answer for programs."""
    from mmsim.report import json_

    return json_.document(command, results, status, **more)


def store_in(folder: str | None) -> Store:
    """Where results are kept between runs."""
    from pathlib import Path

    from mmsim.store import Store

    if folder is not None:
        return Store(Path(folder))
    import platformdirs

    return Store(platformdirs.user_cache_path("mmsim") / "results")
