"""Processes, and the programs they run.

Not modelled: wait() and signals; the exit of one of several threads.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from mmsim.errors import UserError
from mmsim.kernel.entry.descriptors import Descriptors
from mmsim.kernel.exec import do_execve
from mmsim.kernel.fork import do_exit, do_fork
from mmsim.kernel.types import Kernel, Process
from mmsim.syscalls import Mount


class ProcessCalls(Descriptors):
    """fork(), execve() and exit()."""

    async def execve(self, mount: Mount, name: str) -> int:
        if not self._alone:
            msg = "execve() by a process with several threads is not modelled: give the thread a process of its own"
            raise UserError(msg)
        return await do_execve(self.k, self._sb(mount), name)

    async def fork(self, child: Callable[..., Coroutine[Any, Any, object]]) -> int:
        process = self._children.get(child.__name__)
        if process is None:
            msg = f"fork({child.__name__}): the scenario must list it in `children`"
            raise UserError(msg)
        if process.mm.order <= self.k.mm.order:
            msg = f"fork({child.__name__}): the scenario must list it in `children` after the child that forks it"
            raise UserError(msg)
        pid = await do_fork(self.k, process)
        await started(self.k, process).store(True)
        return pid

    async def exit(self) -> None:
        if not self._alone:
            msg = "exit() of a process with several threads is not modelled: give the thread a process of its own"
            raise UserError(msg)
        await do_exit(self.k)


def started(k: Kernel, process: Process) -> Any:
    """Whether fork() has made that process."""
    return k.world.cell(f"{process.name}.started", False)
