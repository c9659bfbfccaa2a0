"""Programs performed by the running kernel: raw system calls, and loads and stores that survive their faults.

A program of one process runs in the worker itself, whose arena and descriptors (`FIRST` and up) are cleared after it.
One that forks, exits or passes a descriptor has processes of its own (`mmsim.conformance.sequential.processes`).

The tmpfs is mounted in a mount namespace that ends with the worker, so nothing is left whatever happens to it.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from mmsim.conformance import native
from mmsim.conformance.probe import enter_private_mounts
from mmsim.conformance.sequential.processes import Processes
from mmsim.conformance.sequential.program import Answer, Call, Program, has_processes
from mmsim.conformance.sequential.table import PIECE, Entry, Table

HUGE: Final = Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled")


def writes_by_page() -> bool:
    """Whether a write is held against F_SEAL_GROW page by page: not so where memfds may have huge pages."""
    return not HUGE.exists() or "[never]" in HUGE.read_text()


class Linux:
    """Performs programs, one after the other."""

    def __init__(self, scratch: Path) -> None:
        enter_private_mounts()
        folder = scratch / "tmpfs"
        folder.mkdir()
        try:
            native.mount("mmsim", str(folder), "tmpfs", native.MS_NOSUID | native.MS_NODEV, "size=16m,huge=never")
        except OSError as error:
            msg = f"the programs need a tmpfs of their own, which is refused here ({os.strerror(error.errno or 0)})"
            raise native.Impossible(msg) from None
        os.umask(0)
        self._code = native.fault_safe_memory()
        self._table = Table(folder)
        self._run_table((), [*self._table.clear, *self._table.unlink])
        self._processes = Processes(self._table, self._code)

    def perform(self, program: Program) -> tuple[Answer, ...]:
        """The kernel's answer to each call.  UserError if one never comes."""
        table = self._table
        unlink = table.unlink if any(call.verb == "open" for call in program) else []
        if has_processes(program):
            answers = self._processes.perform(program)
            self._run_table((), unlink)
            return answers
        calls = [call for call in program if not call.process]
        told: list[Answer] = []
        while len(calls) > PIECE:
            told += self._run_table(calls[:PIECE])
            del calls[:PIECE]
        told += self._run_table(calls, table.clear + unlink)
        if len(told) == len(program):
            return tuple(told)
        each = iter(told)
        return tuple(None if call.process else next(each) for call in program)

    def close(self) -> None:
        """Leave no process."""
        self._processes.close()

    def cpu_seconds(self) -> float:
        """How long all the processes have been running."""
        return time.process_time() + self._processes.cpu_seconds()

    def _run_table(self, calls: Sequence[Call], after: Iterable[Entry] = ()) -> list[Answer]:
        self._code.run(self._table.address, self._table.write(calls, after))
        return self._table.answers(calls)


def serve(scratch: Path, hear: Callable[[], Any], tell: Callable[..., None]) -> NoReturn:
    """Perform what the session asks for, batch by batch, until it ends.

    Told are the answers, and how many seconds of CPU the programs of one process took and how many the others.
    """
    linux = Linux(scratch)
    gc.freeze()  # what is there now stays, and need not be looked through again
    try:
        tell("ready", writes_by_page())
        while True:
            tell("answers", *_performed(linux, hear().programs()))
    finally:
        linux.close()


def _performed(linux: Linux, programs: list[Program]) -> tuple[list[tuple[Answer, ...]], list[float]]:
    answers = []
    seconds = [0.0, 0.0]
    for program in programs:
        several = has_processes(program)
        clock = linux.cpu_seconds if several else time.process_time
        began = clock()
        answers.append(linux.perform(program))
        seconds[several] += clock() - began
    return answers, seconds
