"""What a workload's threads are watched by: the durations of their calls, and the pages that are held meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import coroutine
from typing import Any

from mmsim.cells import World
from mmsim.kernel.swap import LruCache
from mmsim.kernel.types import Kernel, Page
from mmsim.steps import Access, Alternatives, Step
from mmsim.timed.costs import WORK
from mmsim.timed.environment import State


class Probe:
    """The observer of one run."""

    def __init__(self, world: World | None, every_ns: float, warm_up_ns: float, syscall_ns: float) -> None:
        self.world = world
        self.every_ns = every_ns
        self.warm_up_ns = warm_up_ns
        self.syscall_ns = syscall_ns
        self.now: Callable[[], float] = float
        self.durations: dict[str, list[float]] = {}
        self.early: Counter[str] = Counter()
        """Operations by name that began in the warm-up."""
        self.refused: Counter[str] = Counter()
        """Those that answered with an errno."""
        self.held: list[tuple[float, int]] = []

    def begin(self, clock: Callable[[], float], /) -> None:
        """The run begins."""
        self.now = clock

    def look(self, now_ns: float, state: State, /) -> None:
        """Count the pages that are held though nobody maps them: by a pin, or by what is left of one.

        Per-CPU LRU caches hold pages too, which is none of a design's doing and is not counted.
        """
        assert self.world is not None
        batched = Counter(page for cache in self.world.of(LruCache) for page in state[cache.pages])
        count = 0
        for page in self.world.of(Page):
            references = state[page.refcount] - batched[page]
            if references > 0 and not state[page.mapcount]:
                count += references > (state[page.mapping] is not None)
        self.held.append((now_ns, count))

    def record(self, name: str, begin_ns: float, end_ns: float, result: object = None) -> None:
        """An operation is over."""
        if result.__class__ is int and result < 0:
            self.refused[name] += 1
        if begin_ns < self.warm_up_ns:
            self.early[name] += 1
            return
        durations = self.durations.get(name)
        if durations is None:
            durations = self.durations[name] = []
        durations.append(end_ns - begin_ns)

    def done(self, name: str) -> int:
        """How many operations of that name are over, those of the warm-up among them."""
        return self.early[name] + len(self.durations.get(name, ()))


def work(duration_ns: float) -> Step[None]:
    """Compute for so long without touching memory that others see."""
    return Step(WORK, None, Access.NONE, worked, (duration_ns,))


def worked(old: object, _duration_ns: float) -> Alternatives:
    """Nothing comes of it."""
    return ((old, None),)


INSTRUCTIONS = frozenset({"load", "store"})
"""What the CPU does by itself, without entering the kernel."""


class Metered:
    """A thread's system calls, each of which pays for entering the kernel and is recorded."""

    def __init__(self, sys: Any, probe: Probe) -> None:
        self.sys = sys
        self.k: Kernel = sys.k
        self.index: int = sys.index
        self.probe = probe
        self._enter = work(probe.syscall_ns)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method: Callable[..., Any] = self.k.learn(getattr(self.sys, name), part=False)
        found: Callable[..., Awaitable[Any]]
        if name in INSTRUCTIONS:
            found = method
        else:
            probe, enter = self.probe, self._enter

            @coroutine  # a generator has fewer objects between the driver and the call than an `async def`
            def found(*arguments: Any, **options: Any) -> Generator[Any, Any, Any]:
                begin = probe.now()
                yield enter
                result = yield from method(*arguments, **options)
                probe.record(name, begin, probe.now(), result)
                return result

        self.__dict__[name] = found
        return found

    def kernel(
        self, function: Callable[..., Coroutine[Any, Any, Any]], *arguments: Any, **options: Any
    ) -> Awaitable[Any]:
        """Call a function of the kernel as a system call would."""
        return self.k.calls(function)(*arguments, **options)

    def since(self, name: str, begin_ns: float, result: object = None) -> None:
        """Record an operation of the workload's own that began at `begin_ns`."""
        self.probe.record(name, begin_ns, self.probe.now(), result)

    @property
    def now(self) -> float:
        """The time."""
        return self.probe.now()
