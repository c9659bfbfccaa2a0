"""Blocked steps: first come, first served per cell; and who holds which lock, and how long others waited for it.

A lock is handed over: the step that makes it free gives it to the first in the queue in the same instant, who cannot
be overtaken by a newcomer (rwsem: nor by a reader, while a writer queues in front of it).  Any other waiter is only
told that its step is no longer blocked, and looks again when it runs.
"""

from __future__ import annotations

from typing import Any

from mmsim.cells import Cell, Lock
from mmsim.steps import Alternatives, Step
from mmsim.timed.cpus import Runner
from mmsim.timed.result import LockUse

TIMED_WAIT = "wait_until_timeout"


def enabled(step: Step[Any], alternatives: Alternatives) -> bool:
    """Whether a step that has these alternatives now has no more to wait for, timeouts aside."""
    return bool(alternatives) and (step.word != TIMED_WAIT or bool(alternatives[0][1]))


class _Use:
    __slots__ = ("acquired", "longest_ns", "wait_ns", "waits")

    def __init__(self) -> None:
        self.acquired = self.waits = 0
        self.wait_ns: float = 0
        self.longest_ns: float = 0


class Locks:
    """Holders and waiting times of all locks of one run."""

    def __init__(self) -> None:
        self.holders: dict[Cell[Any], list[Runner]] = {}
        self._uses: dict[str, _Use] = {}
        self._use_of: dict[Cell[Any], _Use] = {}

    def taken(self, lock: Cell[Any], runner: Runner, waited_ns: float | None) -> None:
        """The runner holds the lock now, after a wait or (None) at once."""
        holders = self.holders.get(lock)
        if holders is None:
            self.holders[lock] = [runner]
            lock_class = lock.lock_class if isinstance(lock, Lock) else lock.name
            self._use_of[lock] = self._uses.setdefault(lock_class, _Use())
        else:
            holders.append(runner)
        use = self._use_of[lock]
        use.acquired += 1
        if waited_ns is not None:
            use.waits += 1
            use.wait_ns += waited_ns
            use.longest_ns = max(use.longest_ns, waited_ns)

    def released(self, lock: Cell[Any], runner: Runner) -> None:
        """The runner has let go of the lock, which somebody else may have taken."""
        runner.irqs_off.discard(lock)
        holders = self.holders.get(lock)
        if holders:
            holders.remove(runner if runner in holders else holders[0])

    def uses(self) -> tuple[LockUse, ...]:
        """The summary, by lock class."""
        return tuple(
            LockUse(name, use.acquired, use.waits, use.wait_ns, use.longest_ns)
            for name, use in sorted(self._uses.items())
        )

    def cycle(self, blocked: list[Runner]) -> bool:
        """Whether some of the blocked threads wait in a circle for locks that they hold."""
        waits_for = {
            runner: self.holders.get(runner.step.cell, []) if runner.step is not None else [] for runner in blocked
        }
        while leaves := [r for r, holders in waits_for.items() if not any(h in waits_for for h in holders)]:
            for runner in leaves:
                del waits_for[runner]
        return bool(waits_for)


class Waiters:
    """The queues of blocked runners, by cell."""

    def __init__(self) -> None:
        self.queues: dict[Cell[Any], list[Runner]] = {}

    def lock_is_wanted(self, cell: Cell[Any]) -> bool:
        """Whether somebody queues to take the lock, as opposed to merely watching it."""
        return any(runner.step is not None and runner.step.acquires for runner in self.queues[cell])

    def join(self, cell: Cell[Any], runner: Runner) -> None:
        """The runner queues for the cell."""
        self.queues.setdefault(cell, []).append(runner)

    def leave(self, cell: Cell[Any], runner: Runner) -> None:
        """The runner waits no longer."""
        queue = self.queues[cell]
        queue.remove(runner)
        if not queue:
            del self.queues[cell]
