"""The same comparison in several processes at once: batches are handed out, and what came of each is sent back.

Each process has a worker of its own for the kernel.  They are forked, so that the model is the same one in all of them,
before anything else is started here; they end when nothing is left to hand out, or when this process does.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Self

from mmsim.conformance.native import Impossible
from mmsim.errors import UserError

_FORK = multiprocessing.get_context("fork")


class Batches:
    """The numbers of the programs, a batch at a time; whoever asks gets the next."""

    def __init__(self, count: int, size: int) -> None:
        self._count, self._size = count, size
        self._next = _FORK.Value("q", 0)

    def __iter__(self) -> Iterator[range]:
        while True:
            with self._next.get_lock():
                first = self._next.value
                self._next.value = first + self._size
            if first >= self._count:
                return
            yield range(first, min(first + self._size, self._count))

    def stop(self) -> None:
        """Hand out nothing more."""
        with self._next.get_lock():
            self._next.value = self._count


class Helpers:
    """So many processes that do `work()` and send each thing that it yields.  A context, at whose end they end."""

    def __init__(self, number: int, batches: Batches, work: Callable[[], Iterator[Any]]) -> None:
        self._batches = batches
        self._processes = []
        self._pipes: list[Connection] = []
        for _ in range(number):
            ours, theirs = _FORK.Pipe(duplex=False)
            self._pipes.append(ours)
            process = _FORK.Process(target=_help, args=(work, theirs, tuple(self._pipes)), daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._batches.stop()
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join()

    def sent(self, *, all_of_it: bool) -> Iterator[Any]:
        """What there is by now, or all that will ever be.  What went wrong there is raised here."""
        while self._pipes:
            ready = wait(self._pipes, None if all_of_it else 0)
            for pipe in ready:
                assert isinstance(pipe, Connection)
                yield from self._heard(pipe)
            if not ready:
                return

    def _heard(self, pipe: Connection) -> Iterator[Any]:
        try:
            message = pipe.recv()
        except EOFError:
            raise UserError("a process that compares programs has died") from None
        if message is None:
            self._pipes.remove(pipe)
            pipe.close()
        elif isinstance(message, UserError):
            raise message
        else:
            yield message


def _help(work: Callable[[], Iterator[Any]], to: Connection, others: tuple[Connection, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that hands out
    for other in others:
        other.close()
    with suppress(BrokenPipeError):  # nobody listens any more
        try:
            for done in work():
                to.send(done)
            to.send(None)
        except Impossible as error:
            to.send(Impossible(str(error)))
        except UserError as error:
            to.send(UserError(str(error)))
