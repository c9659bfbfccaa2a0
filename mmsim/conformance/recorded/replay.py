"""The replay of a log: each call that the model knows is made there, in the recorded order, and answers compared.

A call takes effect on the line on which it ends.  Where others overlapped it, it may have taken effect at any moment
since it began: if an answer differs, the other moments are tried, and one at which every answer fits is as good as the
recorded one (`Rule.ORDER`).  Likewise, where a call whose end or buffer the log does not show may have held pages, the
answer may be the one with them or the one without (`Rule.HELD`).  Nothing else is excused.

After a difference the replay goes on from the model's own state, less the call if Linux refused it, so that what
differs later may follow from what differed first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs

from mmsim.conformance.recorded import contents, descriptors, memory, processes, unseen
from mmsim.conformance.recorded.asking import Ask, NotModelled, Rule
from mmsim.conformance.recorded.log import FORKS, Began, Call, Ended, Line, Log
from mmsim.conformance.recorded.machine import Machine, Snapshot
from mmsim.conformance.recorded.syntax import Unreadable, descriptor
from mmsim.kernel.releases import Release
from mmsim.kernel.strategy import Strategy
from mmsim.steps import KernelBug

HANDLERS: Final[dict[str, Callable[[Machine, Call], Ask]]] = {
    **descriptors.HANDLERS,
    **contents.HANDLERS,
    **memory.HANDLERS,
    **processes.HANDLERS,
}
TRIED: Final = 20_000
"""How many calls are made again, at most, to find another moment for one."""

Redo = Callable[[], bool]
"""Do again what an event did; whether it answers as Linux did."""


@attrs.frozen
class Difference:
    """A call that the model answers otherwise."""

    line: int
    call: str
    name: str
    linux: Any
    model: Any


@attrs.frozen
class Mark:
    """Where things stood when a call began that has not ended, and how many events there had been."""

    snapshot: Snapshot
    done: int


@attrs.frozen
class Made:
    """What came of a call: the question that it was, if it was one, and the model's answer."""

    ask: Ask | None
    answer: Any = None
    why: NotModelled | None = None
    taken: tuple[int, ...] = ()
    """Descriptors that Linux gave out and the model still had open."""

    @property
    def fits(self) -> bool:
        """Whether the model answers as Linux did, if there was anything to answer."""
        return not self.taken and (self.ask is None or self.ask.expected is None or self.answer == self.ask.expected)


class Replayer:
    """One replay."""

    def __init__(self, log: Log, strategy: Strategy, release: Release) -> None:
        self.machine = Machine(strategy, release)
        self.equal: Counter[str] = Counter()
        self.followed = 0
        self.differences: list[Difference] = []
        self.outside: Counter[str] = Counter()
        self.not_compared: Counter[str] = Counter()
        self.rules: Counter[Rule] = Counter()
        self.unreadable: list[Line] = []
        self._done: list[Redo] = []
        """What has been done since the oldest of the marks."""
        self._marks: dict[int, Mark] = {}
        """By pid: a task is in one call at a time."""
        self._early: set[tuple[int, int]] = set()
        self._family = _Family(log)
        calls = [event for event in log.events if isinstance(event, Call)]
        self._mapping = [call for call in calls if call.name in memory.CHANGES]
        self._asked: set[tuple[int, int]] = set()
        """Those of them that were questions."""
        self._ends = {(call.pid, call.began): call for call in calls if call.began != call.line}

    # ---- events

    def event(self, event: Call | Began | Ended) -> None:
        """Do what the next event of the log did."""
        if event.pid not in self.machine.state.tasks:
            self._adopt(event.pid, event.line)
        match event:
            case Ended():
                self._marks.pop(event.pid, None)
                self._do(lambda: self.machine.end(event.pid))
            case Began():
                self._began(event)
            case Call():
                self._ended(event)
        if not self._marks:
            self._done.clear()
            self.machine.forget()

    def _do(self, effect: Callable[[], object]) -> None:
        """Something that has no answer."""

        def redo() -> bool:
            effect()
            return True

        redo()
        self._done.append(redo)

    def _began(self, began: Began) -> None:
        if (began.pid, began.line) in self._ends and self._may_be_asked(began):
            self._marks[began.pid] = Mark(self.machine.snapshot(), len(self._done))
        try:
            self._do(lambda: unseen.may_pin(self.machine, began))
        except Unreadable:
            return  # it is told when the whole of the call is there

    def _may_be_asked(self, began: Began) -> bool:
        """Whether it may become a question: what reads a pipe for ever does not, and nobody comes back to its start."""
        if began.name not in contents.HANDLERS:
            return began.name in HANDLERS
        try:
            told = [descriptor(argument) for argument in began.arguments[:3]]
        except Unreadable:
            return True
        return any(self.machine.file(began.pid, fd) is not None for fd in told)

    def _ended(self, call: Call) -> None:
        mark = self._marks.pop(call.pid, None)
        if (call.pid, call.began) in self._early:
            self.equal[call.name] += 1
            return
        try:
            if call.name in FORKS:
                self._forked(call)
            else:
                self._count(call, self._make(call, mark))
        except Unreadable as error:
            self.unreadable.append(Line(call.line, call.text, str(error)))

    def _count(self, call: Call, made: Made) -> None:
        for number in made.taken:
            told = f"descriptor {number} is still open"
            self.differences.append(Difference(call.line, call.text, call.name, number, told))
        if made.why is not None:
            if made.why.rule:
                self.rules[made.why.rule] += 1
            elif made.why.reason:
                self.not_compared[made.why.reason] += 1
            else:
                self.outside[call.name] += 1
        if made.ask is not None and call.name in memory.CHANGES:
            self._asked.add((call.pid, call.began))
        if made.ask is not None and made.ask.expected is None:
            self.followed += 1
        elif made.ask is not None and made.fits:
            self.equal[call.name] += 1
            self.rules.update(made.ask.rules)
        elif made.ask is not None:
            self.differences.append(Difference(call.line, call.text, call.name, made.ask.expected, made.answer))

    # ---- processes

    def _adopt(self, pid: int, line: int) -> None:
        """A task that nobody has made yet: the child of a clone() under way, or one from before the log."""
        fork = self._family.parent_of(pid, line, set(self.machine.state.tasks))
        if fork is not None:
            self._child(fork, pid, line)
        else:
            self._family.met.add(pid)
            self._do(lambda: self.machine.begin(pid, line))

    def _forked(self, call: Call) -> None:
        if call.value is None or call.value < 0:
            self.outside[call.name] += 1
            return
        self.followed += 1
        known = self._family.known(call)
        child = self._family.child_of(call)
        if child is not None:
            self._child(call, child, call.line)
        elif not known:
            self._do(lambda: self._lose_all(call, f"the child of {call.name}() in line {call.line} is not in the log"))

    def _child(self, fork: Call, pid: int, line: int) -> None:
        self._family.met.add(pid)
        try:
            flags = processes.clone_flags(fork.name, fork.arguments)
        except Unreadable as error:
            self.unreadable.append(Line(fork.line, fork.text, str(error)))
            self._do(lambda: self.machine.begin(pid, line))
            return
        if not flags & processes.VM and self._remapped_meanwhile(fork):
            told = f"a thread changed mappings while {fork.name}() of line {fork.line} copied them"
            self._do(lambda: self._lose_all(fork, told))
        self._do(lambda: processes.clone(self.machine, flags, fork.pid, pid, line))

    def _remapped_meanwhile(self, fork: Call) -> bool:
        """Whether another thread changed what a process has mapped of the model's while it was copied."""
        tasks = self.machine.state.tasks
        for call in self._mapping:
            overlaps = call.began < fork.line and call.line > fork.began and call.pid != fork.pid
            if not overlaps or call.pid not in tasks or tasks[call.pid].mm is not tasks[fork.pid].mm:
                continue
            if (call.pid, call.began) in self._asked or memory.concerns(self.machine, call):
                return True
        return False

    def _lose_all(self, fork: Call, told: str) -> None:
        for inode in self.machine.files_of(fork.pid):
            self.machine.lose(inode, told)

    # ---- answers

    def _make(self, call: Call, mark: Mark | None) -> Made:
        """Make a call: with Linux's answer, if at any moment and with any of what was not seen the model gives it."""
        if call.name not in HANDLERS:
            made = self._act(call)
            self._done.append(self._again(call))
            return made
        before = self.machine.snapshot()
        made = self._act(call)
        if made.ask is not None and made.ask.about_pins and self.machine.state.holders:
            made, redo = self._with_or_without(call, made, before)
        else:
            redo = self._again(call)
        if not made.fits and made.ask is not None:
            elsewhen = self._earlier(call, mark) or self._after_others(call, before)
            if elsewhen is not None:
                self.rules[Rule.ORDER] += 1
                return elsewhen
            self.machine.restore(before)
            if isinstance(made.ask.expected, int) and made.ask.expected < 0:
                return made  # Linux did nothing, so nothing is to be done here
            redo()
            self._done.append(lambda: redo() or True)
            return made
        self._done.append(redo)
        return made

    def _act(self, call: Call) -> Made:
        """What the model answers at this moment, and whatever else the call may do to what the model has."""
        # What the call may have held while it was under way it holds no more.
        self.machine.release(*(one for one in self.machine.state.holders if one.pid == call.pid))
        try:
            ask = self._question(call)
        except NotModelled as why:
            return Made(None, why=why, taken=self._outside(call))
        try:
            return Made(ask, ask.perform())
        except KernelBug as bug:
            return Made(ask, f"kernel bug: {bug}")

    def _again(self, call: Call) -> Redo:
        return lambda: self._act(call).fits

    def _question(self, call: Call) -> Ask:
        handler = HANDLERS.get(call.name)
        if handler is None:
            raise NotModelled
        try:
            return handler(self.machine, call)
        except IndexError:
            msg = f"{call.name}() has fewer arguments than it takes"
            raise Unreadable(msg) from None

    def _outside(self, call: Call) -> tuple[int, ...]:
        """A call that is no question: what it may do all the same, and which descriptors it gave out."""
        unseen.after(self.machine, call)
        taken = []
        for number in unseen.new_descriptors(call):
            if self.machine.file(call.pid, number) is not None:
                taken.append(number)
                self.machine.run(self.machine.calls(call.pid).close(number))
            self.machine.opened(call.pid, number, cloexec=False)
        return tuple(taken)

    def _with_or_without(self, call: Call, held: Made, before: Snapshot) -> tuple[Made, Redo]:
        """The answer where pages are held and the one where they are not; the one that is Linux's was the case."""

        def let_go() -> Made:
            self.machine.release(*self.machine.state.holders)
            return self._act(call)

        self.machine.restore(before)
        free = let_go()
        if free.answer != held.answer and (free.fits or held.fits):
            self.rules[Rule.HELD] += 1
        if free.fits and not held.fits:
            return free, lambda: let_go().fits
        self.machine.restore(before)
        return self._act(call), self._again(call)

    def _earlier(self, call: Call, mark: Mark | None) -> Made | None:
        """Try the moments since the call began: all that was done since has to answer as it did."""
        if mark is None:
            return None
        since, redo = self._done[mark.done :], self._again(call)
        tries = TRIED // (len(since) + 1)
        for at in range(len(since) - 1, max(len(since) - 1 - tries, -1), -1):
            self.machine.restore(mark.snapshot)
            if not all(step() for step in since[:at]):
                break
            made = self._act(call)
            if made.ask is not None and made.fits and all(step() for step in since[at:]):
                self._done[mark.done :] = [*since[:at], redo, *since[at:]]
                self._renew_marks(mark.done)
                return made
        self.machine.restore(mark.snapshot)
        for step in since:
            step()
        return None

    def _after_others(self, call: Call, before: Snapshot) -> Made | None:
        """Try whether a call that has begun, or the end of a process, took effect already."""
        for early, key in self._under_way(call):
            self.machine.restore(before)
            if not early():
                continue
            made = self._act(call)
            if made.ask is not None and made.fits:
                self._done += [early, self._again(call)]
                self._early |= key
                return made
        return None

    def _under_way(self, call: Call) -> Iterator[tuple[Redo, set[tuple[int, int]]]]:
        exiting = sorted(self.machine.state.exiting - {call.pid})
        for going in [[pid] for pid in exiting] + ([exiting] if len(exiting) > 1 else []):
            yield self._ending(going), set()
        for (pid, began), end in self._ends.items():
            if pid in self._marks and began < call.line < end.line and end.name not in FORKS:
                yield self._fitting(end), {(pid, began)}

    def _ending(self, pids: list[int]) -> Redo:
        def redo() -> bool:
            for pid in pids:
                self.machine.end(pid)
            return True

        return redo

    def _fitting(self, call: Call) -> Redo:
        def redo() -> bool:
            try:
                made = self._act(call)
            except Unreadable:
                return False
            return made.ask is not None and made.fits

        return redo

    def _renew_marks(self, done: int) -> None:
        """Marks that were made on a past that is another one now."""
        for pid, mark in list(self._marks.items()):
            if mark.done > done:
                self._marks[pid] = Mark(self.machine.snapshot(), len(self._done))


class _Family:
    """Who is whose child.  A child of another pid namespace has another number in its parent's answer."""

    def __init__(self, log: Log) -> None:
        self.met: set[int] = set()
        self._forks = [event for event in log.events if isinstance(event, Call) and event.name in FORKS and event.value]
        self._pids = {event.pid for event in log.events}
        named = {fork.value for fork in self._forks}
        self._unnamed = list(dict.fromkeys(event.pid for event in log.events if event.pid not in named))

    def parent_of(self, pid: int, line: int, alive: set[int]) -> Call | None:
        """The call that has made that task, whether it has ended or not."""
        ready = [fork for fork in self._forks if fork.began <= line and fork.pid in alive]
        named = [fork for fork in ready if fork.value == pid]
        others = [fork for fork in ready if fork.value not in self._pids]
        found = next(iter((*named, *others)), None)
        if found is not None:
            self._forks.remove(found)
        return found

    def known(self, fork: Call) -> bool:
        """Whether its child was met already."""
        return fork not in self._forks

    def child_of(self, fork: Call) -> int | None:
        """The task that the call has made, unless it was met before the call ended, or is not in the log."""
        if fork not in self._forks:
            return None
        named = (pid for pid in (fork.value, *self._unnamed) if pid in self._pids and pid not in self.met)
        child = next(named, None)
        if child is not None:
            self._forks.remove(fork)
        return child
