"""Many random programs, each performed by the running kernel and by the model, and what they answered differently.

A difference is a bug of the model, or something that programs do not ask (`program.NOT_ASKED`); no answer is excused.
While the worker process performs one batch on the kernel, this process performs the same one in the model.  As many of
such pairs as there are jobs do so at once.
"""

from __future__ import annotations

import functools
import operator
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Final, Protocol, Self

import attrs

from mmsim.conformance.native import Impossible
from mmsim.conformance.profile import running
from mmsim.conformance.run import Worker
from mmsim.conformance.sequential import model
from mmsim.conformance.sequential.jobs import Batches, Helpers
from mmsim.conformance.sequential.program import (
    LONGEST,
    NOT_ASKED,
    Answer,
    Batch,
    Given,
    Limits,
    Program,
    has_processes,
)
from mmsim.conformance.sequential.shrink import shrunk
from mmsim.conformance.worker import ProgramsRequest
from mmsim.errors import UserError
from mmsim.kernel.releases import Release
from mmsim.kernel.strategy import Strategy

BATCH: Final = 100
PATIENCE_S: Final = 60.0
SHOWN: Final = 3
"""How many kinds of differences are shrunk and shown, each by one program; the others are only counted."""


Answers = tuple[Answer, ...]


@attrs.frozen
class Difference:
    """A program, as small as it could be made, and both answers to each of its calls."""

    number: int
    """Which of the programs it comes from."""
    program: Program
    linux: Answers
    model: Answers
    repeats: bool = True
    """Whether a second run of the whole program differed as well; if not, the program is as it was drawn."""


@attrs.frozen
class ProgramsResult:
    """What came of all of them."""

    linux: str
    """The running kernel's release, as `uname -r` prints it."""
    release: str
    """The release that the model was asked for."""
    strategy: str
    seed: int
    programs: int = 0
    """How many were performed."""
    calls: int = 0
    agreed: int = 0
    differences: tuple[Difference, ...] = ()
    not_asked: tuple[str, ...] = NOT_ASKED
    skipped: str | None = None
    interrupted: bool = False
    forking: int = 0
    """How many of the programs had several processes, or one that exits."""
    linux_seconds: float = 0.0
    """How long a CPU was busy with the kernel's answers to programs of one process, to the others, and with the model's
    to all.  A kernel that was booted tells by its own clock."""
    forking_seconds: float = 0.0
    model_seconds: float = 0.0
    jobs: int = 1
    """How many asked at once."""
    seconds: float = 0.0
    """How long it took by the clock until all were drawn, performed and compared."""


@attrs.define
class Tally:
    """What came of some programs."""

    programs: int = 0
    calls: int = 0
    forking: int = 0
    differing: list[tuple[int, Program, Answers, Answers]] = attrs.field(factory=list)
    linux_seconds: float = 0.0
    forking_seconds: float = 0.0
    model_seconds: float = 0.0

    def add(self, other: Tally) -> None:
        """And of some more."""
        self.programs += other.programs
        self.calls += other.calls
        self.forking += other.forking
        self.differing += other.differing
        self.linux_seconds += other.linux_seconds
        self.forking_seconds += other.forking_seconds
        self.model_seconds += other.model_seconds


@attrs.frozen
class Drawn:
    """Which programs are drawn, but for their numbers."""

    seed: int
    longest: int = LONGEST
    forks: bool = True


class Performer(Protocol):
    """A kernel that performs programs: asked for some, it is listened to before it is asked again."""

    linux: str
    """Its release, as `uname -r` prints it."""
    profile: Release
    """What it is in the model."""
    limits: Limits
    """What is not to be asked of it."""

    def ask(self, asked: Batch | Given) -> None:
        """Hand it programs."""

    def answers(self) -> tuple[list[Answers], tuple[float, float]]:
        """Its answers, and its seconds for programs of one process and for the others.  UserError: it is gone."""


class RunningKernel:
    """The kernel that this runs on, through a worker process.  A context; `native.Impossible` where it may not be."""

    def __init__(self) -> None:
        self.linux = platform.release()
        self.profile = running()
        self._left = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as left:
            scratch = left.enter_context(tempfile.TemporaryDirectory(prefix="mmsim-"))
            self._worker = left.enter_context(Worker(ProgramsRequest(scratch)))
            kind, told = self._worker.next_message(PATIENCE_S)
            if kind != "ready":
                raise Impossible(told)
            self.limits = Limits(in_page=not told)
            self._left = left.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.close()

    def ask(self, asked: Batch | Given) -> None:
        """Hand it programs."""
        self._worker.ask(asked)

    def answers(self) -> tuple[list[Answers], tuple[float, float]]:
        """See `Performer`."""
        kind, real, *took = self._worker.next_message(PATIENCE_S)
        if kind != "answers":
            raise UserError(real)
        ((one, several),) = took
        return real, (one, several)


class _Session:
    """Both who answer."""

    def __init__(self, performer: Performer, strategy: Strategy, release: Release | None) -> None:
        self._performer = performer
        self._perform: Callable[[Program], Answers] = functools.partial(
            model.perform, strategy=strategy, release=release or performer.profile
        )

    def compare(self, drawn: Drawn, numbers: range) -> Tally:
        """Draw, perform and compare a batch."""
        tally = Tally()
        performed = self.perform(Batch(drawn.seed, numbers, drawn.longest, drawn.forks, self._performer.limits), tally)
        for number, (program, real, modelled) in zip(numbers, performed, strict=True):
            tally.programs += 1
            tally.calls += len(program)
            tally.forking += has_processes(program)
            if real != modelled:
                tally.differing.append((number, program, real, modelled))
        return tally

    def perform(self, asked: Batch | Given, tally: Tally | None = None) -> Iterator[tuple[Program, Answers, Answers]]:
        """Each program with the kernel's answers and the model's.  How long that took is added to the tally."""
        self._performer.ask(asked)
        programs = asked.programs()
        began = time.process_time()
        modelled = list(map(self._perform, programs))
        took = time.process_time() - began
        real, (one, several) = self._performer.answers()
        if tally is not None:
            tally.add(Tally(linux_seconds=one, forking_seconds=several, model_seconds=took))
        return zip(programs, real, modelled, strict=True)

    def smallest(self, number: int, program: Program, real: Answers, modelled: Answers) -> Difference:
        """The difference in as small a program as shows it."""
        kind = kind_of(program, real, modelled)

        def differs(candidate: Program) -> bool:
            return any(kind_of(*performed) == kind for performed in self.perform(Given((candidate,))))

        if not differs(program):
            return Difference(number, program, real, modelled, repeats=False)
        ((small, real, modelled),) = self.perform(Given((shrunk(program, differs),)))
        return Difference(number, small, real, modelled)


def kind_of(program: Program, real: Answers, modelled: Answers) -> tuple[str, object, object] | None:
    """The call and both answers where they first differ, what was read left out; None where they agree."""
    for call, one, other in zip(program, real, modelled, strict=True):
        if one != other:
            return call.verb, _kind(one), _kind(other)
    return None


def _kind(answer: Answer) -> object:
    """An errno or a signal; one count, descriptor, address or content is as good as another."""
    return 0 if isinstance(answer, bytes) or (isinstance(answer, int) and answer > 0) else answer


def conform_programs(
    count: int,
    seed: int,
    strategy: Strategy,
    release: Release | None = None,
    *,
    kernel: AbstractContextManager[Performer] | None = None,
    seconds: float | None = None,
    longest: int = LONGEST,
    forks: bool = True,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> ProgramsResult:
    """Perform so many programs, or as many as there is time for, on the running kernel or on one that is booted.

    `kernel`: a context that is a `Performer`, which one job asks.  UserError: it died or does not answer.
    """
    drawn = Drawn(seed, longest, forks)
    batches = Batches(count, BATCH)
    jobs = 1 if kernel is not None else max(1, min(jobs, -(-count // BATCH)))
    running = kernel or RunningKernel()

    def help_out() -> Iterator[Tally]:
        with RunningKernel() as performer:
            session = _Session(performer, strategy, release)
            for numbers in batches:
                yield session.compare(drawn, numbers)

    try:
        with Helpers(jobs - 1, batches, help_out) as helpers, running as performer:
            session = _Session(performer, strategy, release)
            tallies = _all_tallies(session, drawn, batches, helpers)
            tally, interrupted, took = _summed(tallies, count, seconds, progress)
            batches.stop()
            differences = () if interrupted else _shown(session, tally)
            return ProgramsResult(
                performer.linux,
                (release or performer.profile).name,
                strategy.name,
                seed,
                programs=tally.programs,
                calls=tally.calls,
                agreed=tally.programs - len(tally.differing),
                differences=differences,
                not_asked=performer.limits.not_asked,
                interrupted=interrupted,
                forking=tally.forking,
                linux_seconds=tally.linux_seconds,
                forking_seconds=tally.forking_seconds,
                model_seconds=tally.model_seconds,
                jobs=jobs,
                seconds=took,
            )
    except Impossible as error:
        assert isinstance(running, RunningKernel)
        name = (release or running.profile).name
        return ProgramsResult(running.linux, name, strategy.name, seed, skipped=str(error))


def _all_tallies(session: _Session, drawn: Drawn, batches: Batches, helpers: Helpers) -> Iterator[Tally]:
    for numbers in batches:
        yield session.compare(drawn, numbers)
        yield from helpers.sent(all_of_it=False)
    yield from helpers.sent(all_of_it=True)


def _summed(
    tallies: Iterator[Tally], count: int, seconds: float | None, progress: Callable[[int, int], None] | None
) -> tuple[Tally, bool, float]:
    """All of them, or those until Ctrl-C or the end of the time; whether it was Ctrl-C; and how long it took."""
    total = Tally()
    began = time.monotonic()
    interrupted = False
    try:
        for tally in tallies:
            total.add(tally)
            if progress is not None:
                progress(total.programs, count)
            if seconds is not None and time.monotonic() - began > seconds:
                break
    except KeyboardInterrupt:
        interrupted = True
    return total, interrupted, time.monotonic() - began


def _shown(session: _Session, tally: Tally) -> tuple[Difference, ...]:
    """Of each kind of difference the first, made smaller; of the kinds the first few."""
    kinds = {kind_of(*each[1:]): each for each in sorted(tally.differing, key=operator.itemgetter(0), reverse=True)}
    first = sorted(kinds.values(), key=operator.itemgetter(0))[:SHOWN]
    return tuple(session.smallest(*each) for each in first)
