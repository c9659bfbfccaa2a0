"""The order in which a program performs a scenario's calls, found by running it in the model.

A program can decide when a call begins, and when a device answers; it cannot stop a call in its midst.  Only where a
call sleeps (a seal that waits for pins) or has to wait for others do the others go on meanwhile.  An order is
therefore a list of `Event`s, carried out here as user space would: a call that has begun runs to its end or to where
it has to wait, and one that waits goes on as soon as it can.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, Final

import attrs

from mmsim.check.judge import Test
from mmsim.emit.record import Log, Record, recorded
from mmsim.errors import UserError
from mmsim.kernel.types import BlockDevice
from mmsim.machine import boot
from mmsim.steps import KernelBug, Step
from mmsim.syscalls import PAGE_SIZE
from mmsim.threads import Thread
from mmsim.verdict import Move, Schedule

MOST_STEPS: Final = 200_000


class Kind(Enum):
    """What happens next."""

    BEGIN = "a call begins"
    END = "a call has ended"
    ANSWER = "a device answers"


@attrs.frozen(eq=False)
class Event:
    """One thing that happens in an order."""

    kind: Kind
    who: str
    """The thread's name, or the device's."""
    record: Record | None = None
    data: bytes | None = None
    """What the device brings; None for a write, which it takes."""
    length: int = 0


@attrs.frozen
class Ordered:
    """A run of the model in whole calls."""

    log: Log
    events: tuple[Event, ...]
    schedule: Schedule
    """The steps it came from, for `mmsim replay`."""
    faithful: bool = True
    """Whether the calls are as in the schedule that was asked for, to the step; else only their answers are."""

    def asked(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every thread's calls and their answers."""
        return {who: [record.asked() for record in self.log.of(who)] for who in {r.thread for r in self.log.records}}


class _Actor:
    """A thread, and the call that it is in."""

    def __init__(self, thread: Thread) -> None:
        self.name = thread.name
        self.silent = thread.silent
        self.coroutine = thread.start()
        self.step: Step[Any] | None = None
        self.ended = False
        self.begun: Record | None = None


class Runner:
    """Carries out events on a freshly booted machine."""

    def __init__(self, test: Test) -> None:
        self.log = Log()
        machine = boot(recorded(test.scenario, self.log), test.strategy, test.release)
        self.values = dict(machine.initial)
        self.queues = {device.name: device.queue for device in machine.world.of(BlockDevice)}
        self.actors = {thread.name: _Actor(thread) for thread in machine.threads}
        self.events: list[Event] = []
        self.moves: list[Move] = []
        self._told = len(self.log.records)
        for actor in self.actors.values():
            self._resume(actor, None)

    def able(self, actor: _Actor) -> bool:
        """Whether it has a step that it can take now."""
        return not actor.ended and bool(self.alternatives(actor))

    def in_a_call(self, actor: _Actor) -> bool:
        """Whether a call of it has begun and not ended."""
        return actor.begun is not None

    def take(self, actor: _Actor, alternative: int = 0) -> None:
        """One step."""
        assert actor.step is not None
        if len(self.moves) > MOST_STEPS:
            msg = f"the calls do not end within {MOST_STEPS:,} steps; {actor.name} is in {actor.step!r}"
            raise UserError(msg)
        answers_from = self._request(actor)
        if actor.begun is None and not actor.silent:
            self._begin(actor)
        choices = self.alternatives(actor)
        new, result = choices[alternative]
        if actor.step.cell is not None:
            self.values[actor.step.cell] = new
        self.moves.append(Move(actor.name, alternative))
        if answers_from is not None:
            request = answers_from
            length = len(request.data) if request.data is not None else len(request.pages) * PAGE_SIZE
            self.events.append(Event(Kind.ANSWER, actor.name, data=request.data, length=length))
        self._resume(actor, result)

    def proceed(self, actor: _Actor, *, awake: bool) -> None:
        """Run its call to the end, or to where it must wait; a sleep is slept to its end only if `awake`."""
        before = len(self.events)
        while self.able(actor):
            assert actor.step is not None
            if actor.step.word == "sleep" and not awake:
                return
            self.take(actor)  # the first step of a child is outside of any call: it waits to be forked
            if not self.in_a_call(actor) and len(self.events) > before:
                return

    def answer(self, actor: _Actor) -> None:
        """Let a device carry out one request."""
        queue = self.queues.get(actor.name)
        while self.able(actor):
            self.take(actor)
            step = actor.step
            if queue is not None and step is not None and step.word == "wait_until" and step.cell is queue:
                return

    def wake(self) -> None:
        """Whoever waited in a call for something that is there now goes on."""
        while woken := [actor for actor in self._threads() if self.in_a_call(actor) and self._awake(actor)]:
            for actor in woken:
                self.proceed(actor, awake=False)

    def go_on(self) -> None:
        """To the end: threads in order, one call at a time; devices when nothing else can move."""
        while True:
            self.wake()
            ready = [actor for actor in self._threads() if not self.in_a_call(actor) and self.able(actor)]
            asleep = [actor for actor in self._threads() if self.in_a_call(actor) and self.able(actor)]
            devices = [actor for actor in self.actors.values() if actor.silent and self.able(actor)]
            devices.sort(key=lambda actor: actor.name not in self.queues)  # a flusher is the last to move
            stuck = any(self.in_a_call(actor) for actor in self._threads())
            if asleep or ready:
                self.proceed((asleep or ready)[0], awake=True)
            elif devices and (stuck or devices[0].name in self.queues):
                self.answer(devices[0])
            else:
                return

    def finished(self, *, faithful: bool = True) -> Ordered:
        """What came of it."""
        for actor in self.actors.values():
            actor.coroutine.close()
        return Ordered(self.log, tuple(self.events), Schedule(tuple(self.moves)), faithful)

    def _threads(self) -> list[_Actor]:
        return [actor for actor in self.actors.values() if not actor.silent]

    def _awake(self, actor: _Actor) -> bool:
        return self.able(actor) and actor.step is not None and actor.step.word != "sleep"

    def alternatives(self, actor: _Actor) -> Any:
        """Every (new value, result) that its step may have now.  UserError where it runs into a kernel bug."""
        step = actor.step
        assert step is not None
        try:
            return step.alternatives(self.values.get(step.cell, step.cell.initial) if step.cell else None)
        except KernelBug as bug:
            msg = f"{actor.name} runs into a kernel bug at {step!r}: {bug}"
            raise UserError(msg) from None

    def _request(self, actor: _Actor) -> Any:
        """The request that a device is about to take up."""
        queue = self.queues.get(actor.name)
        if queue is None or actor.step is None or actor.step.cell is not queue or actor.step.word != "wait_until":
            return None
        return self.values[queue][0]

    def _begin(self, actor: _Actor) -> None:
        """The first step of a call is about to be taken."""
        open_ = [record for record in self.log.of(actor.name) if not record.answered]
        if open_:
            actor.begun = open_[-1]
            self.events.append(Event(Kind.BEGIN, actor.name, actor.begun))

    def _resume(self, actor: _Actor, result: Any) -> None:
        try:
            actor.step = actor.coroutine.send(result)
        except StopIteration:
            actor.ended, actor.step = True, None
        except KernelBug as bug:
            msg = f"{actor.name} runs into a kernel bug: {bug}"
            raise UserError(msg) from None
        if actor.begun is not None and actor.begun.answered:
            self.events.append(Event(Kind.END, actor.name, actor.begun))
            actor.begun = None
        for record in self.log.records[self._told :]:
            if record.answered and record.thread == actor.name:  # a call that took no step at all
                self.events += [Event(Kind.BEGIN, actor.name, record), Event(Kind.END, actor.name, record)]
        self._told = len(self.log.records)


def default_order(test: Test) -> Ordered:
    """Threads in the scenario's order, one call at a time, devices answering when nothing else can move."""
    runner = Runner(test)
    runner.go_on()
    return runner.finished()


def ordered(test: Test, schedule: Schedule) -> Ordered:
    """The order of whole calls nearest to a schedule (of steps), with the answers that the schedule gives.

    Where the schedule ends before the calls do, they go on as in `default_order`.  UserError if it does not fit, or if
    it switches inside of calls in a way that changes answers and that user space cannot bring about.
    """
    exact = Runner(test)
    for position, move in enumerate(schedule.moves, 1):
        actor = exact.actors.get(move.thread)
        if actor is None or not exact.able(actor) or move.alternative >= len(exact.alternatives(actor)):
            msg = f"the schedule does not fit {test.name} at step {position}: {move.thread} cannot move there"
            raise UserError(msg)
        exact.take(actor, move.alternative)
    exact.go_on()
    wanted = exact.finished()
    for events in (wanted.events, _by_their_ends(wanted.events)):
        found = _in_whole_calls(test, events)
        if found is not None and found.asked() == wanted.asked():
            return attrs.evolve(found, faithful=found.schedule == wanted.schedule)
    raise UserError(_sentence(wanted))


def _by_their_ends(events: Sequence[Event]) -> list[Event]:
    """Each call begins where it ended."""
    found: list[Event] = []
    ended = {id(event.record) for event in events if event.kind is Kind.END}
    for event in events:
        if event.kind is Kind.BEGIN and id(event.record) in ended:
            continue
        if event.kind is Kind.END:
            found.append(attrs.evolve(event, kind=Kind.BEGIN))
        found.append(event)
    return found


def _in_whole_calls(test: Test, events: Sequence[Event]) -> Ordered | None:
    """Carry out these events as user space would; None where that is not possible."""
    runner = Runner(test)
    for event in events:
        actor = runner.actors[event.who]
        runner.wake()
        if event.kind is Kind.ANSWER:
            if not runner.able(actor):
                return None
            runner.answer(actor)
        elif event.kind is Kind.BEGIN:
            done = sum(each.kind is Kind.END and each.who == event.who for each in runner.events)
            if done > _number(event, events):
                continue  # a call without a step
            if runner.in_a_call(actor) or not runner.able(actor):
                return None
            runner.proceed(actor, awake=False)
        elif runner.in_a_call(actor):
            runner.proceed(actor, awake=True)
    runner.go_on()
    return runner.finished()


def _number(event: Event, events: Sequence[Event]) -> int:
    """How many calls its thread began before."""
    begun = [each for each in events if each.kind is Kind.BEGIN and each.who == event.who]
    return next(number for number, each in enumerate(begun) if each.record is event.record)


def _sentence(wanted: Ordered) -> str:
    inside = next(
        (
            (event.record, after.who)
            for event, after in zip(wanted.events, wanted.events[1:], strict=False)
            if event.kind is Kind.BEGIN and event.record and after.record is not event.record
        ),
        None,
    )
    if inside is None:
        return "the schedule takes alternatives that a program cannot choose; give one without them"
    record, who = inside
    return (
        f"the schedule switches from {record.thread} to {who} inside {record.verb}(), which no program can make happen,"
        " and no order of whole calls has the same answers; give a schedule that switches between calls"
    )
