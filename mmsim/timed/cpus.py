"""Who runs on which CPU.  Nothing here knows of time or of SimPy: callers are told whom to wake.

Tasks queue first come, first served, and hold their CPU until they sleep; there are no time slices.  An interrupt
(hardirq or softirq) takes an idle CPU, or borrows one from a task at the end of that task's present step, or at once
where the task only spins; it waits while every CPU has its interrupts off or already serves an interrupt.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from enum import Enum
from random import Random
from typing import Any

from mmsim.steps import Context, Step
from mmsim.threads import Thread
from mmsim.timed.delays import Delay

NO_CPU = -1


class Activity(Enum):
    """What a thread is doing."""

    READY = "waits for a CPU"
    RUNNING = "runs"
    BLOCKED = "waits for a cell"
    ASLEEP = "sleeps, or works on its own, until a certain time"
    SILENT = "will never do anything again"
    FINISHED = "has returned"


class Runner:
    """One thread on its way."""

    __slots__ = (
        "activity",
        "blocked_ns",
        "coroutine",
        "cpu",
        "delay",
        "granted",
        "interrupt",
        "irqs_off",
        "last_cpu",
        "last_ns",
        "outcome",
        "owes_ns",
        "rng",
        "sleeps",
        "step",
        "steps",
        "thread",
        "turn",
        "wait",
    )

    def __init__(self, thread: Thread, delay: Delay | None, rng: Random) -> None:
        self.thread = thread
        self.coroutine: Coroutine[Any, Any, object] = thread.start()
        self.interrupt = thread.context is not Context.TASK
        self.delay = delay
        self.rng = rng
        self.activity = Activity.READY
        self.cpu = NO_CPU
        self.last_cpu = 0
        self.irqs_off: set[object] = set()
        self.step: Step[Any] | None = None
        self.granted: tuple[Any, Any, Any] | None = None
        self.sleeps = False
        self.blocked_ns: float = 0
        self.wait = 0
        self.steps = 0
        self.last_ns: float = 0
        self.outcome: object = None
        self.turn: Any = None
        self.owes_ns: float = 0
        """What it costs that it got its CPU: paid with its next step."""


class _Cpu:
    __slots__ = ("borrowed_from", "busy_ns", "last_task", "runner", "since_ns")

    def __init__(self) -> None:
        self.last_task: Runner | None = None
        self.runner: Runner | None = None
        self.borrowed_from: Runner | None = None
        self.since_ns: float = 0
        self.busy_ns: float = 0


class Cpus:
    """`count` CPUs.  `wake(runner)` is called for everyone who may go on; `clock()` tells the time in ns.

    A CPU takes `switch_ns` to go from one task to another, `interrupt_ns` to serve an interrupt.
    """

    def __init__(
        self,
        count: int,
        wake: Callable[[Runner], None],
        clock: Callable[[], float],
        switch_ns: float = 0,
        interrupt_ns: float = 0,
    ) -> None:
        self._switch_ns, self._interrupt_ns = switch_ns, interrupt_ns
        self.all = [_Cpu() for _ in range(count)]
        self.tasks: deque[Runner] = deque()
        self.interrupts: deque[Runner] = deque()
        self._idle = count
        self._wake = wake
        self._clock = clock

    def ready(self, runner: Runner) -> None:
        """The runner wants a CPU: give it one and wake it, or let it queue."""
        if self._take_idle(runner):
            self._wake(runner)
            return
        runner.activity = Activity.READY
        if not runner.interrupt:
            self.tasks.append(runner)
        else:
            for index, cpu in enumerate(self.all):
                task = cpu.runner
                if task is not None and task.activity is Activity.BLOCKED and self.interruptible(task):
                    self._lend(index, runner)
                    return
            self.interrupts.append(runner)

    def take(self, runner: Runner) -> bool:
        """The same for one that is awake: whether it has a CPU at once; if not, it is woken when it has."""
        if self._take_idle(runner):
            return True
        self.ready(runner)
        return False

    def _take_idle(self, runner: Runner) -> bool:
        """Give the runner an idle CPU, its last one if that is idle; whether there is one."""
        if not self._idle:
            return False
        last = runner.last_cpu
        index = last if self.all[last].runner is None else next(i for i, c in enumerate(self.all) if not c.runner)
        self._idle -= 1
        self.all[index].since_ns = self._clock()
        self._place(index, runner)
        return True

    def interruptible(self, runner: Runner) -> bool:
        """Whether an interrupt may borrow the runner's CPU between two steps."""
        return not runner.interrupt and not runner.irqs_off

    def yield_to_interrupt(self, runner: Runner) -> None:
        """Lend the runner's CPU to the first interrupt that waits.  The runner is woken when it has it back."""
        self._lend(runner.cpu, self.interrupts.popleft())

    def on_cpu(self, runner: Runner) -> bool:
        """Whether the runner has its CPU for itself now; not so while an interrupt has borrowed it."""
        return runner.cpu != NO_CPU and self.all[runner.cpu].runner is runner

    def release(self, runner: Runner) -> None:
        """The runner leaves its CPU; whoever is next is woken on it."""
        index = runner.cpu
        runner.cpu = NO_CPU
        cpu = self.all[index]
        if self.interrupts:
            self._give(index, self.interrupts.popleft())
        elif cpu.borrowed_from is not None:
            task, cpu.borrowed_from = cpu.borrowed_from, None
            cpu.runner = task
            if task.activity is Activity.READY:
                task.activity = Activity.RUNNING
                self._wake(task)
        elif self.tasks:
            self._give(index, self.tasks.popleft())
        else:
            cpu.runner = None
            cpu.busy_ns += self._clock() - cpu.since_ns
            self._idle += 1

    def busy_ns(self, now_ns: float) -> tuple[float, ...]:
        """For how long each CPU was not idle until now."""
        return tuple(cpu.busy_ns + (now_ns - cpu.since_ns if cpu.runner else 0) for cpu in self.all)

    def _lend(self, index: int, interrupt: Runner) -> None:
        cpu = self.all[index]
        cpu.borrowed_from = cpu.runner
        self._give(index, interrupt)

    def _give(self, index: int, runner: Runner) -> None:
        self._place(index, runner)
        self._wake(runner)

    def _place(self, index: int, runner: Runner) -> None:
        runner.cpu = runner.last_cpu = index
        runner.activity = Activity.RUNNING
        cpu = self.all[index]
        cpu.runner = runner
        if runner.interrupt:
            runner.owes_ns = self._interrupt_ns
        elif cpu.last_task is not runner:
            runner.owes_ns = self._switch_ns if cpu.last_task is not None else 0
            cpu.last_task = runner
