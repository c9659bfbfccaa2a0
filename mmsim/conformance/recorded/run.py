"""A log, replayed: each of its calls that the model knows is made there, in the recorded order, and answers compared.

A call takes effect on the line on which it ends.  Where others overlapped it, it may have taken effect at any moment
since it began: if an answer differs, the other moments are tried, and one at which every answer fits is as good as the
recorded one (`Rule.ORDER`).  Likewise, where a call whose end or buffer the log does not show may have held pages, the
answer may be the one with them or the one without (`Rule.HELD`).  Nothing else is excused.

After a difference the replay goes on from the model's own state, less the call if Linux refused it, so that what
differs later may follow from what differed first.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs

from mmsim.conformance.recorded import contents, descriptors, memory, processes, unseen
from mmsim.conformance.recorded.asking import Ask, NotModelled, Rule, followed
from mmsim.conformance.recorded.log import FORKS, Began, Call, Ended, Line, Log, read
from mmsim.conformance.recorded.machine import Machine, Snapshot
from mmsim.conformance.recorded.syntax import Unreadable
from mmsim.conformance.sequential.run import nearest_release
from mmsim.errors import UserError
from mmsim.kernel.releases import Release
from mmsim.kernel.strategy import Strategy
from mmsim.steps import KernelBug

HANDLERS: Final[dict[str, Callable[[Machine, Call], Ask]]] = {
    **descriptors.HANDLERS,
    **contents.HANDLERS,
    **memory.HANDLERS,
    **processes.HANDLERS,
}
MOMENTS: Final = 200
"""How many other moments are tried for one call."""


@attrs.frozen
class Difference:
    """A call that the model answers otherwise."""

    line: int
    call: str
    name: str
    linux: Any
    model: Any


@attrs.frozen
class Result:
    """What came of a log."""

    path: str
    release: str
    strategy: str
    lines: int
    calls: int
    equal: int
    followed: int
    """Calls that changed what processes have, with nothing to compare."""
    compared_by_name: tuple[tuple[str, int], ...]
    differences: tuple[Difference, ...]
    outside: tuple[tuple[str, int], ...]
    """By name, calls of which the model has neither the call nor the file or memory that they are about."""
    not_compared: tuple[tuple[str, int], ...]
    """By reason, calls about the model's own files that could not be asked."""
    rules: tuple[tuple[Rule, int], ...]
    unreadable: tuple[Line, ...]
    endless: tuple[Began, ...]

    @property
    def compared(self) -> int:
        """How many answers were."""
        return self.equal + len(self.differences)


def conform_log(path: Path, strategy: Strategy, release: Release | None = None) -> Result:
    """Replay one log.  Raises UserError where there is none, or nothing in it is about what the model has."""
    release = release or nearest_release(platform.release())
    result = replay(read(path), strategy, release, str(path))
    if not result.compared and not result.unreadable:
        msg = (
            f"{path}: none of its {result.calls:,} system calls is about a memfd, so there is nothing to compare; "
            "record a program that makes some, from its start and without -e trace"
        )
        raise UserError(msg)
    return result


def replay(log: Log, strategy: Strategy, release: Release, path: str = "") -> Result:
    """The whole log."""
    replayer = _Replayer(log, strategy, release)
    for event in log.events:
        replayer.event(event)
    return Result(
        path,
        release.name,
        strategy.name,
        log.lines,
        sum(isinstance(event, Call) for event in log.events),
        sum(replayer.equal.values()),
        replayer.followed,
        _counted(replayer.equal + Counter(difference.name for difference in replayer.differences)),
        tuple(replayer.differences),
        _counted(replayer.outside),
        _counted(replayer.not_compared),
        tuple((rule, replayer.rules[rule]) for rule in Rule if replayer.rules[rule]),
        tuple(sorted((*log.unreadable, *replayer.unreadable), key=_number)),
        log.endless,
    )


def _counted(counter: Counter[str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(counter.items(), key=_most_first))


def _most_first(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _number(line: Line) -> int:
    return line.number


@attrs.define
class _Mark:
    """Where things stood when a call began that has not ended, and how many calls had been made by then."""

    snapshot: Snapshot
    made: int


class _Replayer:
    def __init__(self, log: Log, strategy: Strategy, release: Release) -> None:
        self.machine = Machine(strategy, release)
        self.equal: Counter[str] = Counter()
        self.followed = 0
        self.differences: list[Difference] = []
        self.outside: Counter[str] = Counter()
        self.not_compared: Counter[str] = Counter()
        self.rules: Counter[Rule] = Counter()
        self.unreadable: list[Line] = []
        self._made: list[Ask] = []
        self._marks: dict[int, _Mark] = {}
        """By pid: a task is in one call at a time."""
        self._done_early: set[tuple[int, int]] = set()
        self._ends = {(event.pid, event.began): event for event in log.events if isinstance(event, Call)}
        self._pids = {event.pid for event in log.events}
        self._met: set[int] = set()
        self._forks = [event for event in log.events if isinstance(event, Call) and event.name in FORKS and event.value]
        named = {fork.value for fork in self._forks}
        self._unnamed = list(dict.fromkeys(event.pid for event in log.events if event.pid not in named))
        """Processes that no parent's answer names, for they are of another pid namespace; the first is nobody's child."""

    # ---- events

    def event(self, event: Call | Began | Ended) -> None:
        if event.pid not in self.machine.state.tasks:
            self._adopt(event.pid, event.line)
        try:
            match event:
                case Ended():
                    self._ended(event)
                case Began():
                    self._began(event)
                case Call():
                    self._call(event)
        except Unreadable as error:
            text = event.text if isinstance(event, Call) else str(event)
            self.unreadable.append(Line(event.line, text, str(error)))
        if not self._marks:
            self._made.clear()
            self.machine.forget()

    def _ended(self, event: Ended) -> None:
        self._marks.pop(event.pid, None)
        self._make(followed(Call(event.pid, "exit", (), None, event.line, event.line, ""), self._end(event.pid)))

    def _end(self, pid: int) -> Callable[[], None]:
        return lambda: self.machine.end(pid)

    def _began(self, began: Began) -> None:
        end = self._ends.get((began.pid, began.line))
        if began.name in HANDLERS and end is not None:
            self._marks[began.pid] = _Mark(self.machine.snapshot(), len(self._made))
        unseen.may_pin(self.machine, began)

    def _call(self, call: Call) -> None:
        mark = self._marks.pop(call.pid, None)
        if (call.pid, call.began) in self._done_early:
            self.equal[call.name] += 1
            return
        if call.name in FORKS:
            self._forked(call)
            return
        try:
            ask = self._question(call)
        except NotModelled as reason:
            self._not_asked(call, reason)
            self._over(call)
            return
        answer = self._answer(ask, mark)
        if ask.expected is None:
            self.followed += 1
        elif answer == ask.expected:
            self.equal[call.name] += 1
            self.rules.update(ask.rules)
        else:
            self.differences.append(Difference(call.line, call.text, call.name, ask.expected, answer))
        self._over(call)

    def _question(self, call: Call) -> Ask:
        handler = HANDLERS.get(call.name)
        if handler is None:
            raise NotModelled
        try:
            return handler(self.machine, call)
        except IndexError:
            msg = f"{call.name}() has fewer arguments than it takes"
            raise Unreadable(msg) from None

    def _not_asked(self, call: Call, why: NotModelled) -> None:
        if why.rule:
            self.rules[why.rule] += 1
        elif why.reason:
            self.not_compared[why.reason] += 1
        else:
            self.outside[call.name] += 1
        unseen.after(self.machine, call)
        for number in unseen.new_descriptors(call):
            if self.machine.file(call.pid, number) is not None:
                answer = f"descriptor {number} is still open"
                self.differences.append(Difference(call.line, call.text, call.name, number, answer))
                self.machine.run(self.machine.calls(call.pid).close(number))
            self.machine.opened(call.pid, number, cloexec=False)

    def _over(self, call: Call) -> None:
        """What the call may have held while it went on, it holds no more."""
        self.machine.release(*(one for one in self.machine.state.holders if one.pid == call.pid))

    # ---- processes

    def _adopt(self, pid: int, line: int) -> None:
        """A task that nobody has made yet: the child of a clone() that has begun or ended, or one from before the log.

        A child of another pid namespace has another number in its parent's answer.
        """
        ready = [fork for fork in self._forks if fork.began <= line and fork.pid in self.machine.state.tasks]
        named = [fork for fork in ready if fork.value == pid]
        others = [fork for fork in ready if fork.value not in self._pids]
        for fork in (*named[:1], *others[:1]):
            self._forks.remove(fork)
            self._child(fork, pid, line)
            return
        self._met.add(pid)
        self.machine.begin(pid, line)

    def _forked(self, call: Call) -> None:
        if call.value and call.value > 0:
            self.followed += 1
            named = (pid for pid in (call.value, *self._unnamed) if pid in self._pids and pid not in self._met)
            child = next(named, None)
            if call in self._forks and child is not None:
                self._forks.remove(call)
                self._child(call, child, call.line)
        else:
            self.outside[call.name] += 1

    def _child(self, fork: Call, pid: int, line: int) -> None:
        self._met.add(pid)
        try:
            flags = processes.clone_flags(fork.name, fork.arguments)
        except Unreadable as error:
            self.unreadable.append(Line(fork.line, fork.text, str(error)))
            self.machine.begin(pid, line)
            return

        def effect() -> None:
            processes.clone(self.machine, flags, fork.pid, pid, line)

        self._make(followed(fork, effect))

    # ---- answers

    def _make(self, ask: Ask) -> Any:
        """Make a call: its answer, or a sentence about the model's own bug."""
        self._made.append(ask)
        return _performed(ask)

    def _answer(self, ask: Ask, mark: _Mark | None) -> Any:
        """The model's answer: Linux's, if at any moment and with any of what was not seen the model can give it."""
        before = self.machine.snapshot()
        answer = _performed(ask)
        if ask.expected is None:
            self._made.append(ask)
            return answer
        if ask.about_pins and self.machine.state.holders:
            answer = self._with_or_without(ask, answer, before)
        if answer != ask.expected and (self._earlier(ask, mark, before) or self._after_others(ask, before)):
            self.rules[Rule.ORDER] += 1
            return ask.expected
        if answer != ask.expected and isinstance(ask.expected, int) and ask.expected < 0:
            self.machine.restore(before)
        elif answer == ask.expected or not isinstance(ask.expected, int) or ask.expected >= 0:
            self._made.append(ask)
        return answer

    def _with_or_without(self, ask: Ask, answer: Any, before: Snapshot) -> Any:
        """The answer where pages are held and where they are not; what fits Linux's is what was the case."""
        after = self.machine.snapshot()
        self.machine.restore(before)
        self.machine.release(*self.machine.state.holders)
        other = _performed(ask)
        if other != answer and ask.expected in {answer, other}:
            self.rules[Rule.HELD] += 1
        if other == ask.expected != answer:
            return other
        # As it was; what the journal has lost by going back is done again.
        self.machine.restore(before)
        again = _performed(ask)
        assert again == answer, after
        return answer

    def _earlier(self, ask: Ask, mark: _Mark | None, before: Snapshot) -> bool:
        """Try the moments since the call began: all that was made since has to answer as it did."""
        if mark is None:
            return False
        since = self._made[mark.made :]
        for at in list(reversed(range(len(since))))[:MOMENTS]:
            self.machine.restore(mark.snapshot)
            if _all_fit([*since[:at], ask, *since[at:]]):
                self._made[mark.made :] = [*since[:at], ask, *since[at:]]
                self._forget_marks(mark.made)
                return True
        self.machine.restore(mark.snapshot)
        for one in since:
            _performed(one)
        _performed(ask)
        self._forget_marks(mark.made)
        return False

    def _after_others(self, ask: Ask, before: Snapshot) -> bool:
        """Try whether a call that has begun, or an exit, took effect already."""
        for early, done in self._under_way(ask.call):
            self.machine.restore(before)
            if _all_fit([early, ask]):
                self._made += [early, ask]
                self._done_early |= done
                return True
        self.machine.restore(before)
        _performed(ask)
        return False

    def _under_way(self, call: Call) -> Iterator[tuple[Ask, set[tuple[int, int]]]]:
        exiting = self.machine.state.exiting
        for pid in sorted(exiting - {call.pid}):
            yield followed(call, self._end(pid)), set()
        if len(exiting) > 1:
            yield followed(call, lambda: [self.machine.end(pid) for pid in sorted(exiting - {call.pid})]), set()
        for (pid, began), end in self._ends.items():
            if pid in self._marks and began < call.line < end.line and (pid, began) not in self._done_early:
                try:
                    yield self._question(end), {(pid, began)}
                except (NotModelled, Unreadable):
                    continue

    def _forget_marks(self, made: int) -> None:
        """Marks that were made on a past that is another one now."""
        for pid, mark in list(self._marks.items()):
            if mark.made > made:
                self._marks[pid] = _Mark(self.machine.snapshot(), len(self._made))


def _performed(ask: Ask) -> Any:
    try:
        return ask.perform()
    except KernelBug as bug:
        return f"kernel bug: {bug}"


def _all_fit(asks: list[Ask]) -> bool:
    return all(_performed(ask) == ask.expected for ask in asks)


