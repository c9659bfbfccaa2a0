"""Processes."""

from __future__ import annotations

from mmsim.conformance.real import Calls, ThreadFunction


class ProcessCalls(Calls):
    """fork() and exit()."""

    async def fork(self, child: ThreadFunction) -> int:
        """fork(2)."""
        self.begin()
        return self.host.fork(child)

    async def exit(self) -> None:
        """exit_group(2), made when the coroutine has returned."""
        self.begin()
        self.exiting = True
