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
from types import FrameType
from typing import Any, Final, NamedTuple

from mmsim.steps import Step

TRIAL: Final = 32
"""After so many calls that had to be run it is asked whether learning pays; if not, it rests, longer each time."""
MOST: Final = 5000
"""How much is kept of one function, in nodes; then all is forgotten."""

KEYWORDS: Final = object()
"""Stands between the arguments of a call and its options."""

Run = Coroutine[Any, Any, Any]


class Node:
    """A point of a call, just after it was sent `result`: the step that it makes there, or (None) its answer."""

    __slots__ = ("answer", "before", "last", "next", "result", "root", "step", "then")

    root: Root
    """Where the call began."""

    def __init__(self, before: Node | None = None, result: Any = None) -> None:
        self.before = before
        self.result = result
        if before is not None:
            self.root = before.root
        self.step: Step[Any] | None = None
        self.answer: Any = None
        self.next: dict[tuple[type, Any], Node] = {}
        self.last: object = Node  # the result that was met here last, which no step has, and where it led
        self.then: Node = self

    def onward(self, result: Any) -> Node:
        """Where a result leads; if it was never met here, the call is run from here on, and learnt."""
        known = self.next.get((type(result), result))
        if known is None:
            known = self._learn(result)
        self.last, self.then = result, known
        return known

    def _learn(self, result: Any) -> Node:
        learnt = self.root.learnt
        run = learnt.run
        if run is None:
            run = learnt.run = self.again()
        new = Node(self, result)
        try:
            new.step = run.send(result)
        except StopIteration as end:
            new.answer = end.value
        except Exception as error:  # noqa: BLE001 - which the caller is to meet where it awaits
            new.answer = Raised(error)
        self.next[type(result), result] = new
        learnt.kept += 1
        return new

    def again(self) -> Run:
        """Another run of the same call that has come as far."""
        results, node = [], self
        while node.before is not None:
            results.append(node.result)
            node = node.before
        run = self.root.start()
        for result in reversed(results):
            run.send(result)
        return run


class Raised(NamedTuple):
    """What a call answers that ends with an error."""

    error: Exception


class Root(Node):
    """A call that has not begun; to be awaited.

    It yields itself, and a driver that knows of it goes from node to node, from `onward(None)`, makes their steps, and
    sends the answer.
    """

    __slots__ = ("at", "learnt", "start", "types")

    def __init__(self, learnt: Learnt, given: tuple[Any, ...], start: Callable[[], Run]) -> None:
        super().__init__()
        self.root = self
        self.learnt = learnt
        self.types = [*map(type, given)]
        self.start = start
        self.at: Node = self
        """Where the call is, as far as its driver has told."""

    def __await__(self) -> Generator[Root, Any, Any]:
        try:
            answer = yield self
        finally:
            self.learnt.is_over()
        if answer.__class__ is Raised:
            raise answer.error
        return answer


class Learnt:
    """One function as one thread calls it: awaiting `learnt(...)` does what awaiting `function(...)` does."""

    def __init__(self, function: Callable[..., Run]) -> None:
        self.function = function
        self.run: Run | None = None
        """The call that is being made, if some of it had to be run."""
        self._rests = 0
        """How many more calls are run as they are, for learning did not pay."""
        self._rested = TRIAL
        self._roots: dict[object, Root | None] = {}  # by arguments; None: they were met once, and may never be again
        self.kept = 0
        """In nodes."""
        self._called = self._ran = 0

    def __call__(self, *arguments: Any, **options: Any) -> Awaitable[Any]:
        """The call, to be awaited."""
        given = (*arguments, KEYWORDS, *options, *options.values()) if options else arguments
        try:
            root = self._roots.get(given)
        except TypeError:  # what cannot be hashed may change
            return self.function(*arguments, **options)
        if root is None:
            root = self._meet(given, partial(self.function, *arguments, **options))
        if root is None or root.types != [*map(type, given)]:  # 1 is not True
            return self.function(*arguments, **options)
        return root

    def is_over(self) -> None:
        """The call has ended, or will never end."""
        self._called += 1
        if self.run is not None:
            self.run.close()
            self.run = None
            self._count_run()

    def _meet(self, given: tuple[Any, ...], start: Callable[[], Run]) -> Root | None:
        """A new tree for a call with these arguments, or None if it is to be run as it is."""
        if self._rests:
            self._rests -= 1
            return None
        root = self._roots[given] = Root(self, given, start) if given in self._roots else None
        self.kept += 1
        if root is None:
            self._called += 1
            self._count_run()
        return root

    def _count_run(self) -> None:
        self._ran += 1
        if self._ran == TRIAL:
            if self._called < 3 * self._ran:
                self._rested *= 2
                self._rests = self._rested
            self._ran = self._called = 0
        if self._rests or self.kept > MOST:
            self._roots.clear()
            self.kept = 0


WALKS: Final = frozenset({Root.__await__.__code__})
"""The code of the generators that stand for a call."""


def run_behind(frame: FrameType) -> Run:
    """A coroutine that is where the call is for which such a generator stands."""
    root: Root = frame.f_locals["self"]
    return root.learnt.run or root.at.again()
