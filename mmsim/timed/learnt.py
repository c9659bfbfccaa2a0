"""Kernel paths, learnt: what a call did once need not be run again to know what it does next.

Until it returns, a call is a deterministic function of its arguments and of the results of its steps; the checker
relies on the same.  So it is learnt as a tree: from the start an edge for each result that was met, at each node the
step that followed, at the leaves what was returned.  The coroutine runs only from where a result is met for the first
time.  Every step is still made, takes its time and has its effect: what is spared is finding out which one comes next.

It pays where the same happens again and again, as in a loop that pins and unpins one page.  Where arguments or results
are new each time it does not, and such a function is run as it is, until it is tried again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from operator import is_
from types import FrameType, coroutine
from typing import Any, Final

from mmsim.steps import Step

TRIAL: Final = 32
"""After so many calls that had to be run it is asked whether learning pays; if not, it rests, longer each time."""
MOST: Final = 5000
"""How much is kept of one function, in nodes; then all is forgotten."""

KEYWORDS: Final = object()
"""Stands between the arguments of a call and its options."""

Run = Coroutine[Any, Any, Any]


class _Node:
    """A point of a call, just after it was sent `result`: the step that it makes there, or (None) its answer."""

    __slots__ = ("answer", "before", "last", "next", "result", "step", "then")

    def __init__(self, before: _Node | None = None, result: Any = None) -> None:
        self.before = before
        self.result = result
        self.step: Step[Any] | None = None
        self.answer: Any = None
        self.next: dict[tuple[type, Any], _Node] = {}
        self.last: object = _Node  # the result that was met here last, which no step has, and where it led
        self.then: _Node = self

    def follow(self, result: Any) -> _Node | None:
        """Where a result leads, if it was met here before."""
        known = self.next.get((type(result), result))
        if known is not None:
            self.last, self.then = result, known
        return known

    def learn(self, result: Any, run: Run) -> _Node:
        """Where it leads: `run` is suspended here, and afterwards there."""
        new = _Node(self, result)
        try:
            new.step = run.send(result)
        except StopIteration as end:
            new.answer = end.value
        self.next[type(result), result] = new
        return new

    def again(self) -> Run:
        """Another run of the same call that has come as far."""
        results, node = [], self
        while node.before is not None:
            results.append(node.result)
            node = node.before
        assert isinstance(node, _Root)
        run = node.start()
        for result in reversed(results):
            run.send(result)
        return run


class _Root(_Node):
    """A call that has not begun."""

    __slots__ = ("arguments", "start")

    def __init__(self, arguments: tuple[Any, ...], start: Callable[[], Run]) -> None:
        super().__init__()
        self.arguments = arguments
        self.start = start


class Learnt:
    """One function as one thread calls it: awaiting `learnt(...)` does what awaiting `function(...)` does."""

    def __init__(self, function: Callable[..., Run]) -> None:
        self.function = function
        self._rests = 0
        """How many more calls are run as they are, for learning did not pay."""
        self._rested = TRIAL
        self._roots: dict[object, _Root | None] = {}  # by arguments; None: they were met once, and may never be again
        self._kept = self._recalled = self._ran = 0

    def __call__(self, *arguments: Any, **options: Any) -> Awaitable[Any]:
        """The call, to be awaited."""
        given = (*arguments, KEYWORDS, *options, *options.values()) if options else arguments
        try:
            root = self._roots.get(given)
        except TypeError:  # what cannot be hashed may change
            return self.function(*arguments, **options)
        if root is None:
            root = self._meet(given, partial(self.function, *arguments, **options))
        if root is None or not (all(map(is_, given, root.arguments)) or _alike(given, root.arguments)):
            return self.function(*arguments, **options)
        return self._recall(root)

    def _meet(self, given: tuple[Any, ...], start: Callable[[], Run]) -> _Root | None:
        """A new tree for a call with these arguments, or None if it is to be run as it is."""
        if self._rests:
            self._rests -= 1
            return None
        root = self._roots[given] = _Root(given, start) if given in self._roots else None
        self._kept += 1
        if root is None:
            self._count_run()
        return root

    @coroutine
    def _recall(self, root: _Root) -> Generator[Step[Any], Any, Any]:
        node: _Node = root
        result: Any = None
        while True:
            if result is node.last:
                node = node.then
            else:
                known = node.follow(result)
                if known is None:
                    return (yield from self._run(node, result))
                node = known
            step = node.step
            if step is None:
                self._recalled += 1
                return node.answer
            result = yield step

    def _run(self, node: _Node, result: Any) -> Generator[Step[Any], Any, Any]:
        """The rest of a call that takes a turn it never took; run, and learnt."""
        run = node.again()
        try:
            while (step := (node := node.learn(result, run)).step) is not None:
                self._kept += 1
                result = yield step
        finally:
            run.close()
        self._count_run()
        return node.answer

    def _count_run(self) -> None:
        self._ran += 1
        if self._ran == TRIAL:
            if self._recalled < 2 * self._ran:
                self._rested *= 2
                self._rests = self._rested
            self._ran = self._recalled = 0
        if self._rests or self._kept > MOST:
            self._roots.clear()
            self._kept = 0


def _alike(given: tuple[Any, ...], known: tuple[Any, ...]) -> bool:
    """Whether arguments that are equal are the same to the call: 1 is not True."""
    return [*map(type, given)] == [*map(type, known)]


WALKS: Final = frozenset({Learnt._recall.__code__, Learnt._run.__code__})  # noqa: SLF001 - of this module
"""The code of the generators that stand for a call."""


def run_behind(frame: FrameType) -> Run:
    """A coroutine that is where the call is for which a suspended walk stands."""
    local = frame.f_locals
    run: Run = local["run"] if "run" in local else local["node"].again()
    return run
