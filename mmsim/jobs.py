"""Calls that other processes carry out, taken as they are done; and Ctrl-C while they are at it.

`wait()` and `as_completed()` of concurrent.futures take the locks of all futures, one after the other: with thousands
of them that takes longer than a short call, and a Ctrl-C in the middle leaves some of them locked, upon which the
process never ends.  Here each future puts itself into a queue when it is done, and so does Ctrl-C.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from multiprocessing import active_children
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, TypeVar

from mmsim.errors import UserError

K = TypeVar("K")


class Jobs(Generic[K]):
    """What an executor has been given to do, each under a key.  `with` it, or Ctrl-C is met in the middle of things.

    What is not done at the end is called off: processes of this machine are stopped, whatever they are at.
    """

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self._keys: dict[Future[Any], K] = {}
        self._done: SimpleQueue[Future[Any] | None] = SimpleQueue()  # None: Ctrl-C
        self._handler: Any = None

    def __enter__(self) -> Jobs[K]:
        try:
            self._handler = signal.signal(signal.SIGINT, lambda *_: self._done.put(None))
        except ValueError:
            self._handler = None  # not the main thread, which has the signals
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(self.executor, Processes):
            for future in self._keys:
                future.cancel()
        elif self._keys:
            self.executor.stop()
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)

    def __len__(self) -> int:
        """How many are not taken yet."""
        return len(self._keys)

    def submit(self, key: K, function: Callable[..., Any], *arguments: Any) -> None:
        """Have `function(*arguments)` called.  Raises what the executor raises."""
        future = self.executor.submit(function, *arguments)
        self._keys[future] = key
        future.add_done_callback(self._done.put)

    def take(self) -> tuple[K, Future[Any]]:
        """The next one that is done, which is waited for.  Raises KeyboardInterrupt."""
        future = self._done.get()
        if future is None:
            raise KeyboardInterrupt
        return self._keys.pop(future), future


def died(error: BrokenExecutor) -> UserError:
    """What to say of an executor whose workers are gone."""
    return UserError(f"the processes at work have died, perhaps for want of memory; try fewer --jobs ({error})")


class Processes(ProcessPoolExecutor):
    """Processes of this machine.  Ctrl-C, which a terminal sends to them all, they leave to their parent."""

    def __init__(self, count: int) -> None:
        others = set(active_children())
        # Held back until the workers are there: one that a Ctrl-C meets before its initializer has run would be
        # killed, and the pool might wait for it for ever.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            super().__init__(count, initializer=_leave_ctrl_c_to_the_parent)
            self.submit(int)  # the first task starts them all
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        self._workers = set(active_children()) - others

    def stop(self) -> None:
        """Do no more of what was submitted: the futures end with a BrokenProcessPool.

        They must not be cancelled before: the pool would try to end them once more.
        """
        self.shutdown(wait=False)
        for worker in self._workers:
            worker.terminate()


def _leave_ctrl_c_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
