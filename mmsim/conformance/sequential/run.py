"""Many random programs, each performed by the running kernel and by the model, and what they answered differently.

A difference is a bug of the model, or something that programs do not ask (`program.NOT_ASKED`); no answer is excused.
While the worker process performs one batch on the kernel, this process performs the same one in the model.
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
    """How long the kernel was asked for programs of one process, how long for the others, and the model for all."""
    forking_seconds: float = 0.0
    model_seconds: float = 0.0


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
    """Both who answer, and how long each of them was asked."""

    def __init__(self, performer: Performer, strategy: Strategy, release: Release) -> None:
        self._performer = performer
        self._perform: Callable[[Program], Answers] = functools.partial(
            model.perform, strategy=strategy, release=release
        )
        self.linux_seconds = 0.0
        self.forking_seconds = 0.0
        self.model_seconds = 0.0

    @property
    def seconds(self) -> tuple[float, float, float]:
        """On Linux, on Linux with several processes, in the model."""
        return self.linux_seconds, self.forking_seconds, self.model_seconds

    def perform(self, asked: Batch | Given) -> Iterator[tuple[Program, Answers, Answers]]:
        """Each program with the kernel's answers and the model's."""
        self._performer.ask(asked)
        programs = asked.programs()
        began = time.perf_counter()
        modelled = list(map(self._perform, programs))
        self.model_seconds += time.perf_counter() - began
        real, (one, several) = self._performer.answers()
        self.linux_seconds += one
        self.forking_seconds += several
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
    progress: Callable[[int, int], None] | None = None,
) -> ProgramsResult:
    """Perform so many programs, or as many as there is time for, on the running kernel or on one that is booted.

    `kernel`: a context that is a `Performer`.  UserError: it died or does not answer.
    """
    running = kernel or RunningKernel()
    try:
        with running as performer:
            return _conform(performer, count, seed, strategy, release, seconds, longest, forks, progress)
    except Impossible as error:
        assert isinstance(running, RunningKernel)
        name = (release or running.profile).name
        return ProgramsResult(running.linux, name, strategy.name, seed, skipped=str(error))


def _conform(
    performer: Performer,
    count: int,
    seed: int,
    strategy: Strategy,
    release: Release | None,
    seconds: float | None,
    longest: int,
    forks: bool,
    progress: Callable[[int, int], None] | None,
) -> ProgramsResult:
    release = release or performer.profile
    session = _Session(performer, strategy, release)
    differing = []
    interrupted = False
    done = calls = forking = 0
    began = time.monotonic()
    try:
        for first in range(0, count, BATCH):
            numbers = range(first, min(first + BATCH, count))
            performed = session.perform(Batch(seed, numbers, longest, forks, performer.limits))
            for number, (program, real, modelled) in zip(numbers, performed, strict=True):
                calls += len(program)
                forking += has_processes(program)
                if real != modelled:
                    differing.append((number, program, real, modelled))
            done = numbers.stop
            if progress is not None:
                progress(done, count)
            if seconds is not None and time.monotonic() - began > seconds:
                break
    except KeyboardInterrupt:
        interrupted = True
    linux_seconds, forking_seconds, model_seconds = session.seconds
    kinds = {kind_of(*each[1:]): each for each in reversed(differing)}  # of each kind the first
    shown = sorted(kinds.values(), key=operator.itemgetter(0))[:SHOWN]
    differences = () if interrupted else tuple(session.smallest(*each) for each in shown)
    return ProgramsResult(
        performer.linux,
        release.name,
        strategy.name,
        seed,
        programs=done,
        calls=calls,
        agreed=done - sum(number < done for number, *_ in differing),
        differences=differences,
        not_asked=performer.limits.not_asked,
        interrupted=interrupted,
        forking=forking,
        linux_seconds=linux_seconds,
        forking_seconds=forking_seconds,
        model_seconds=model_seconds,
    )
