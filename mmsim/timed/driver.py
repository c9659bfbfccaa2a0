"""The timed driver: runs a machine's threads in SimPy's queue of events, on a simulated clock in ns.

A step occupies its thread's CPU for as long as the cost model says and has its effect at the end of that time.  An
attempt that finds itself blocked has cost as much; the thread then spins on its CPU or, where the step sleeps, leaves
it.  A thread that wakes up pays for its step again: it has to fetch the cell, whatever woke it.

    sleep(ns)            the step's cost on the CPU, then `ns` off it
    cond_resched         as any step; leaves the CPU only if another task waits for one
    wait_until_timeout   gives up after `timeout_ns`, one figure for the whole run
    choose, ...          one of the alternatives, uniformly from the seed

What a thread in an interrupt does that sleeps (waiting for a request) is not done by any CPU: it takes no time.  So a
device costs CPU time from its first step after a request to its last before the next; a transfer by DMA, which costs
the CPUs nothing in truth, is not told from the interrupt's work.  A silent thread that gets a request (its `wait_until`
ends) first waits for its delay, off the CPU.

Exact and fast: a thread's consecutive steps need no event of SimPy's as long as nothing else is due before they end;
where something is, the thread puts its own turn into SimPy's queue as it takes the other's from it.
"""

from __future__ import annotations

import contextlib
import math
from heapq import heappop, heappush, heappushpop, heapreplace
from typing import Any, Final

from simpy.events import NORMAL

from mmsim.errors import UserError
from mmsim.steps import Alternatives, KernelBug, Step
from mmsim.timed.costs import checked_duration
from mmsim.timed.cpus import Activity, Runner
from mmsim.timed.delays import checked_draw
from mmsim.timed.environment import Environment, Turn, Work, no_duration
from mmsim.timed.learnt import Node, Root
from mmsim.timed.recorder import where
from mmsim.timed.waiting import TIMED_WAIT, enabled

APART: Final = frozenset({"sleep", "cond_resched", TIMED_WAIT})
"""Words of steps that do not only wait for their cell."""


class TimedRun(Environment):
    """One run of one machine; `run_to_end()` may be called once."""

    def run_to_end(self) -> bool:
        """Run until nothing is left to do, the time is over or a bug is met; False if the user ended it.

        Raises whatever a thread raised.
        """
        queue: list[Any] = self._queue  # of (when, how urgent, which came first of those alike, what)
        horizon = self.horizon_ns
        for runner in self.runners:
            runner.turn = Turn(self, runner, self._steps(runner))
            self._wake(runner)
        try:
            entry = heappop(queue)
            while entry[0] < horizon and not self.over:
                due, _, _, event = entry
                if event.__class__ is Turn:
                    self._now = due
                    try:
                        entry = next(event.life, None) or heappop(queue)
                    except Exception as error:  # noqa: BLE001 - a thread's own
                        self._failed(event.runner, error)
                else:
                    heappush(queue, entry)
                    self.step()
                    entry = heappop(queue)
        except KeyboardInterrupt:
            return False
        finally:
            for runner in self.runners:
                with contextlib.suppress(RuntimeError):  # a coroutine that awaits more while it is being closed
                    runner.coroutine.close()
                    runner.turn.life.close()
        if self.failure is not None:
            raise self.failure
        self.judge_rest()
        return True

    def _failed(self, me: Runner, error: Exception) -> None:
        if isinstance(error, KernelBug):
            place = where(me.coroutine)
            self.violated("kernel_bug", f"{error} ({me.thread.name}{', ' if place else ''}{place})")
        else:
            self.failure, self.over = error, True

    # One thread.

    def _start(self, me: Runner) -> Work:
        if me.interrupt:
            return
        if self._stagger_ns:
            yield from self._sleep(me, round(me.rng.random() * self._stagger_ns))
            if self.recorder is not None:
                self.recorder.went_on(me.thread.name, self._now)
        else:
            yield from self._get_cpu(me)

    def _steps(self, me: Runner) -> Work:
        node: Node | None = None  # where in a call that is learnt the thread is; None: it runs
        outer: list[Node | None] = []  # the same of the calls that this one is part of, and of the thread itself
        queue, values, queues, interrupts = self._queue, self.values, self.waiters.queues, self.cpus.interrupts
        send, record, locks = me.coroutine.send, self.recorder, self.locks
        cost, context, turn, count, watch = self._cost.__call__, me.thread.context, me.turn, self._eid, self.watch
        result: Any = None
        steps = 0
        forever = math.inf
        apart = me.interrupt or me.delay is not None
        yield from self._start(me)
        cpu, now, owes = me.cpu, self._now, me.owes_ns  # as they are since the thread was woken last
        try:
            while True:
                try:
                    while True:
                        if node is not None:
                            node = node.then if result is node.last else node.onward(result)
                            step = node.step
                            if step is not None:
                                break
                            call = node.call
                            if call is None:
                                if node.root.run is not None:
                                    node.root.is_over()
                                result, node = node.answer, outer.pop()
                                continue
                        else:
                            step = send(result)
                            if step.__class__ is Step:
                                break
                            call = step
                        if call.__class__ is not Root:
                            raise UserError(_no_step(me, call))
                        outer.append(node)
                        node, result = call, None
                except StopIteration as done:
                    self._finish(me, done.value)
                    return
                steps += 1
                if record is not None:
                    _tell((*outer, node))
                plain = step.plain
                acquires = not plain and step.acquires
                if not plain:
                    if step.sleeps and not acquires and (apart or step.word in APART):
                        asks = me.interrupt and step.word == "wait_until"
                        result = yield from self._ask(me, step) if asks else self._sleeping_step(me, step)
                        cpu, now, owes = me.cpu, self._now, me.owes_ns
                        continue
                    if acquires and step.word == "lock_irqsave":
                        me.irqs_off.add(step.cell)
                waited: float = 0
                again = False
                while True:
                    if cpu < 0:
                        if not self.cpus.take(me):
                            yield None
                        cpu, now, owes = me.cpu, self._now, me.owes_ns
                    due = now + cost(step, cpu, now, context)
                    if owes:
                        due += owes
                        owes = me.owes_ns = 0
                    if queue[0][0] > due >= now:
                        self._now = now = due
                    elif now <= due < forever:
                        yield heapreplace(queue, (due, NORMAL, next(count), turn))
                        now = due
                    else:
                        raise UserError(no_duration(step, due - now))
                    if again and me.granted is not None:
                        old, new, result = me.granted
                        me.granted = None
                        break
                    cell = step.cell
                    try:
                        old = values[cell]
                    except KeyError:
                        old = values[cell] = cell.initial
                    if acquires and cell in queues and self.waiters.lock_is_wanted(cell):
                        alternatives: Alternatives = ()
                    elif old is step.met:
                        alternatives = step.then
                    else:
                        alternatives = step.effect(old, *step.operands)
                        step.met, step.then = old, alternatives
                    try:
                        ((new, result),) = alternatives
                    except ValueError:
                        if alternatives:
                            new, result = self._pick(alternatives)
                        else:
                            yield from self._wait(me, step)
                            waited += self._now - now
                            cpu, now, owes = me.cpu, self._now, me.owes_ns
                            again = True
                            continue
                    if not plain:
                        if acquires:
                            locks.taken(cell, me, None)
                        elif step.releases:
                            locks.released(cell, me)
                    if new is not old:
                        if watch is not None:
                            self.judge(step, new)
                            if self.over:
                                return  # or it would run on, as long as nothing else is due
                        values[cell] = new
                        if cell in queues:
                            self._changed(cell)
                    break
                if record is not None:
                    record.step(now, cpu, me.thread, me.coroutine, step, (old, new, result), waited)
                if interrupts and self.cpus.interruptible(me):
                    yield from self._interrupted(me)
                    now = self._now
        except KernelBug:
            _tell((*outer, node))
            raise
        finally:
            me.steps = steps

    def _finish(self, me: Runner, outcome: object) -> None:
        me.outcome, me.activity, me.last_ns = outcome, Activity.FINISHED, self._now
        if me.cpu >= 0:
            self.cpus.release(me)
        if self.recorder is not None:
            self.recorder.left(me.thread.name)

    def _ask(self, me: Runner, step: Step[Any]) -> Work:
        """A device waits for its next request, and then for as long as it takes the device; on no CPU.

        What `_sleeping_step` and all that it entails come to here, in one generator: devices do it all the time.
        """
        if me.cpu >= 0:
            self.cpus.release(me)
        cell, values, record, begin = step.cell, self.values, self.recorder, self._now
        while not (alternatives := step.effect(values.get(cell, cell.initial), *step.operands)):
            self._block(me, step)
            yield None
        ((_, result),) = alternatives
        if record is not None:
            value = values.get(cell, cell.initial)
            record.step(self._now, None, me.thread, me.coroutine, step, (value, value, result), self._now - begin)
        if me.delay is not None:
            delay = checked_draw(me.delay, me.rng, me.thread.name)
            if delay is None:
                return (yield from self._stay_silent(me))
            me.activity = Activity.ASLEEP
            yield heappushpop(self._queue, (self._now + delay, NORMAL, next(self._eid), me.turn))
            me.activity, me.last_ns = Activity.RUNNING, self._now
            if record is not None:
                record.went_on(me.thread.name, self._now)
        return result

    def _sleeping_step(self, me: Runner, step: Step[Any]) -> Work:
        """A step that entails more than a wait, or that no CPU makes; its result."""
        if me.interrupt:
            if me.cpu >= 0:
                self.cpus.release(me)
        elif me.cpu < 0:
            yield from self._get_cpu(me)
        cell, values = step.cell, self.values
        waited: float = 0
        timed_out = False
        while True:
            if not me.interrupt:
                yield from self._pass(me, self._ask_cost(step, me))
            old = None if cell is None else values.get(cell, cell.initial)
            alternatives = step.effect(old, *step.operands)
            if alternatives and (timed_out or enabled(step, alternatives)):
                break
            begin = self._now
            timed_out = yield from self._wait(me, step)
            waited += self._now - begin
        new, result = alternatives[0] if len(alternatives) == 1 else self._pick(alternatives)
        record = self.recorder
        if record is not None:
            cpu = None if me.cpu < 0 else me.cpu
            record.step(self._now, cpu, me.thread, me.coroutine, step, (old, new, result), waited)
        self._set(step, old, new)
        yield from self._after(me, step)
        if record is not None:
            record.went_on(me.thread.name, self._now)
        return result

    def _after(self, me: Runner, step: Step[Any]) -> Work:
        """What a sleeping step entails: the sleep itself, the others' turn, the device's delay."""
        if step.word == "sleep":
            yield from self._sleep(me, checked_duration(step.operands[0], f"what {me.thread.name} sleeps"))
        elif step.word == "cond_resched" and self.cpus.tasks and not me.interrupt:
            self.cpus.release(me)
            yield from self._get_cpu(me)
        elif me.delay is not None and step.word == "wait_until":
            delay = checked_draw(me.delay, me.rng, me.thread.name)
            yield from self._stay_silent(me) if delay is None else self._sleep(me, delay)
        elif self.cpus.interrupts and me.cpu >= 0 and self.cpus.interruptible(me):
            yield from self._interrupted(me)


def _tell(calls: tuple[Node | None, ...]) -> None:
    """Let whoever asks know where each call is."""
    for node in calls:
        if node is not None:
            node.root.at = node


def _no_step(me: Runner, awaited: object) -> str:
    return (
        f"{me.thread.name} awaits {awaited!r} in {where(me.coroutine)}, which is no step; "
        "only calls of `sys` and steps of cells may be awaited"
    )
