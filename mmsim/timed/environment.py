"""What the threads of one timed run share: the clock, the cells' values, the CPUs, and every kind of waiting."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from heapq import heappush, heappushpop
from random import Random
from typing import Any, Protocol

import simpy
from simpy.events import NORMAL, Event, ProcessGenerator

from mmsim.cells import Cell
from mmsim.errors import UserError
from mmsim.steps import Step
from mmsim.threads import Machine
from mmsim.timed.costs import Cost
from mmsim.timed.cpus import Activity, Cpus, Runner
from mmsim.timed.delays import Delay, Fixed
from mmsim.timed.recorder import Recorder
from mmsim.timed.waiting import TIMED_WAIT, Locks, Waiters, enabled

DEFAULT_DELAY = Fixed(100_000)
"""What a device takes that nobody said anything about: a read from flash storage, 100 µs."""

Work = Generator[Any, None, Any]
"""A thread at work.  It yields to let time pass: None, or SimPy's next entry where it has taken that off the queue."""


class Turn(Event):
    """A thread's next turn, scheduled again and again without being made anew.

    SimPy's processes are told of an event through its callbacks; the run loop goes on with the thread's work itself.
    """

    def __init__(self, env: simpy.Environment, runner: Runner, life: Work) -> None:
        super().__init__(env)
        self.runner = runner
        self.life = life


class State:
    """The cells' values, looked up by cell; one of them may be another than it is."""

    __slots__ = ("_cell", "_value", "_values")

    def __init__(self, values: Mapping[Cell[Any], Any], cell: Cell[Any] | None = None, value: object = None) -> None:
        self._values, self._cell, self._value = values, cell, value

    def __getitem__(self, cell: Cell[Any]) -> Any:
        return self._value if cell is self._cell else self._values.get(cell, cell.initial)


class Watch(Protocol):
    """Whoever judges every step that could break a property: `mmsim.check.properties.AlwaysOn`."""

    def watched(self, cell: Cell[Any], /) -> bool:
        """Whether a change of this cell has to be judged."""
        ...

    def judge(self, before: Any, after: Any, step: Step[Any], /) -> tuple[str, str] | None:
        """(property, what happened) if the step breaks one."""
        ...

    def at_rest(self, view: Any, /) -> tuple[str, str] | None:
        """The same of a state in which everything is at rest."""
        ...


class Observer(Protocol):
    """Whoever wants to know how things stand in the course of a run."""

    every_ns: float

    def begin(self, clock: Callable[[], float], /) -> None:
        """The run is about to begin; `clock()` tells its time."""
        ...

    def look(self, now_ns: float, state: State, /) -> None:
        """How things stand now: called every `every_ns`."""
        ...


class Environment(simpy.Environment):
    """SimPy's environment, and all that the threads share.  The clock counts ns."""

    def __init__(
        self,
        machine: Machine,
        cpus: int,
        seed: int,
        cost: Cost,
        delays: Mapping[str, Delay],
        until_ns: float | None,
        recorder: Recorder | None,
        timeout_ns: float,
        stagger_ns: float = 0,
        watch: Watch | None = None,
    ) -> None:
        super().__init__()
        self.seed = seed
        self.horizon_ns = math.inf if until_ns is None else until_ns
        self.recorder = recorder
        self.values: dict[Any, Any] = {None: None, **machine.initial}  # a step may have no cell, which holds nothing
        self.cpus = Cpus(
            cpus, self._wake, lambda: self._now, getattr(cost, "switch_ns", 0), getattr(cost, "interrupt_ns", 0)
        )
        self.waiters = Waiters()
        self.locks = Locks()
        self.runners = [
            # Delays have a source of their own per device: two designs under one seed meet the same devices.
            Runner(t, _delay_of(t.name, delays) if t.silent else None, Random(f"{seed}/{t.name}"))
            for t in machine.threads
        ]
        self.violation: tuple[str, str] | None = None
        self.failure: BaseException | None = None
        self.over = False
        self.watch = watch
        self._watched: dict[Cell[Any], bool] = {}
        self._rng = Random(seed)
        self._cost = cost
        self._timeout_ns = timeout_ns
        self._stagger_ns = stagger_ns
        self.schedule(Event(self), delay=self.horizon_ns)  # nobody looks beyond it, and the queue is never empty

    # Waiting of every kind.

    def _wake(self, runner: Runner) -> None:
        """The thread goes on now, after all that is due now already."""
        heappush(self._queue, (self._now, NORMAL, next(self._eid), runner.turn))  # schedule(), which is called often

    def _pass(self, me: Runner, duration_ns: float) -> Work:
        """Let so much time go by."""
        yield heappushpop(self._queue, (self._now + duration_ns, NORMAL, next(self._eid), me.turn))

    def _wait(self, me: Runner, step: Step[Any]) -> Generator[None, None, bool]:
        """Wait until the step can be tried again, or has been carried out by the one before; whether time ran out."""
        out: list[bool] = []
        self._block(me, step)
        if step.word == TIMED_WAIT:
            self._start_timer(me, me.wait, out)
        yield None
        return bool(out)

    def _block(self, me: Runner, step: Step[Any]) -> None:
        """The thread is about to wait for its step's cell."""
        cell = step.cell
        if cell is None:
            msg = f"{me.thread.name} makes a step ({step}) that is blocked and has no cell that could end that"
            raise UserError(msg)
        me.step, me.sleeps, me.activity = step, step.sleeps, Activity.BLOCKED
        me.blocked_ns = me.last_ns = self._now
        me.wait += 1
        self.waiters.join(cell, me)
        if me.cpu >= 0:
            if me.sleeps:
                self.cpus.release(me)
            elif self.cpus.interrupts and self.cpus.interruptible(me):
                self.cpus.yield_to_interrupt(me)

    def _start_timer(self, me: Runner, wait: int, out: list[bool]) -> None:
        def expire(_event: Event) -> None:
            if me.wait == wait and me.activity is Activity.BLOCKED:
                assert me.step is not None
                self.waiters.leave(me.step.cell, me)
                out.append(True)
                self._unblock(me)

        timer = self.timeout(self._timeout_ns)
        assert timer.callbacks is not None
        timer.callbacks.append(expire)

    def _set(self, step: Step[Any], old: object, new: object) -> None:
        cell = step.cell
        if cell is not None and new is not old:
            if self.watch is not None:
                self.judge(step, new)
            self.values[cell] = new
            if cell in self.waiters.queues:
                self._changed(cell)

    def _changed(self, cell: Cell[Any]) -> None:
        """Hand the lock over to those whose turn it is, and let others look again whose step the new value enables."""
        queue = self.waiters.queues.pop(cell)
        values, still = self.values, []
        refused = granted = False
        for waiter in queue:
            step = waiter.step
            assert step is not None
            if not step.acquires:
                if enabled(step, step.effect(values[cell], *step.operands)):
                    self._unblock(waiter)
                else:
                    still.append(waiter)
                continue
            old = values[cell]
            alternatives = () if refused else step.effect(old, *step.operands)
            if not alternatives:
                refused = True
                still.append(waiter)
                continue
            new, result = alternatives[0] if len(alternatives) == 1 else self._pick(alternatives)
            values[cell] = new
            granted = True
            waiter.granted = (old, new, result)
            self.locks.taken(cell, waiter, self._now - waiter.blocked_ns)
            self._unblock(waiter)
        if still:
            self.waiters.queues[cell] = still
            if granted and not all(waiter.step is not None and waiter.step.acquires for waiter in still):
                self._changed(cell)  # some merely watch the lock, and it has changed hands

    def _unblock(self, waiter: Runner) -> None:
        waiter.step = None
        if waiter.interrupt and waiter.sleeps:
            waiter.activity = Activity.RUNNING
            self._wake(waiter)
        elif waiter.sleeps:
            self.cpus.ready(waiter)
        elif self.cpus.on_cpu(waiter):
            waiter.activity = Activity.RUNNING
            self._wake(waiter)
        else:
            waiter.activity = Activity.READY  # woken when the interrupt gives the CPU back

    def _get_cpu(self, me: Runner) -> Work:
        if not self.cpus.take(me):
            yield None

    def _interrupted(self, me: Runner) -> Work:
        me.activity = Activity.READY
        self.cpus.yield_to_interrupt(me)
        yield None

    def _sleep(self, me: Runner, duration_ns: float) -> Work:
        if me.cpu >= 0:
            self.cpus.release(me)
        me.activity = Activity.ASLEEP
        yield from self._pass(me, duration_ns)
        if me.interrupt:
            me.activity = Activity.RUNNING
        else:
            yield from self._get_cpu(me)
        me.last_ns = self._now

    def _stay_silent(self, me: Runner) -> Work:
        if me.cpu >= 0:
            self.cpus.release(me)
        me.activity, me.last_ns = Activity.SILENT, self._now
        yield None  # and nobody ever wakes it

    # Being watched.

    def show(self, observer: Observer) -> None:
        """Let somebody look on, from now to the end of the time.  Only for a run that has an end."""
        assert self.horizon_ns < math.inf, "a look taken for ever keeps a run from ending"
        observer.begin(lambda: self._now)
        self.process(self._looks(observer))

    def _looks(self, observer: Observer) -> ProcessGenerator:
        while True:
            yield self.timeout(observer.every_ns)
            observer.look(self._now, State(self.values))

    def violated(self, name: str, detail: str) -> None:
        """Something was broken: the run is over."""
        self.violation, self.over = (name, detail), True

    def judge(self, step: Step[Any], new: object) -> None:
        """Ask whoever watches whether a step about to take effect breaks a property."""
        cell, watch = step.cell, self.watch
        assert watch is not None
        wanted = self._watched.get(cell)
        if wanted is None:
            wanted = self._watched[cell] = watch.watched(cell)
        if wanted:
            before = State(self.values)
            fault = watch.judge(before, State(self.values, cell, new), step)
            if fault is not None:
                self.violated(*fault)

    def judge_rest(self) -> None:
        """The same of the state in which every thread has ended and no device has work."""
        if self.watch is None or self.over:
            return
        done = (Activity.FINISHED, Activity.BLOCKED)
        if all(r.activity in done and (r.activity is Activity.FINISHED or r.thread.silent) for r in self.runners):
            fault = self.watch.at_rest(State(self.values))
            if fault is not None:
                self.violated(*fault)

    # Small things.

    def _pick(self, alternatives: tuple[tuple[Any, Any], ...]) -> tuple[Any, Any]:
        return alternatives[self._rng.randrange(len(alternatives))]

    def _ask_cost(self, step: Step[Any], me: Runner) -> float:
        ns = self._cost(step, me.cpu, self._now, me.thread.context) + me.owes_ns
        me.owes_ns = 0
        if not 0 <= ns < math.inf:
            raise UserError(no_duration(step, ns))
        return ns


def no_duration(step: Step[Any], ns: float) -> str:
    """What to say of a cost model that answers nonsense."""
    return f"the cost of {step} came out as {ns!r}, but a duration is a number that is not negative"


def _delay_of(device: str, delays: Mapping[str, Delay]) -> Delay:
    """The delay given for this device, for all its copies (`disk` for `user[0].disk`), or `DEFAULT_DELAY`."""
    return delays.get(device) or delays.get(device.rpartition(".")[2]) or DEFAULT_DELAY
