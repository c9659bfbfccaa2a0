"""Kernel paths, learnt: what a call did once need not be run again to know what it does next.

Until it returns, a call is a deterministic function of its arguments and of the results of its steps; the checker
relies on the same.  So it is learnt as a tree: from the start an edge for each result that was met, at each node the
step that followed, at the leaves what was returned.  The coroutine runs only from where a result is met for the first
time.  Every step is still made, takes its time and has its effect: what is spared is finding out which one comes next.

It pays where the same happens again and again, as in a loop that pins and unpins one page.  Where arguments or results
are new each time it does not, and such a function is run as it is, until it is tried again.

A tree grows with all that may happen in a call, and what happens in one part of it multiplies with what happens in the
next.  So a path that is `learnable` (`mmsim.kernel.paths`) has trees of its own, and is a single node in those of its
callers: they meet its answer, as they meet a step's result.
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
    """A point of a call, just after it was sent `result`: the step, or the call, that it makes there, or its answer."""

    __slots__ = ("answer", "before", "call", "last", "next", "result", "root", "step", "then")

    root: Root
    """Where the call began."""

    def __init__(self, before: Node | None = None, result: Any = None) -> None:
        self.before = before
        self.result = result
        if before is not None:
            self.root = before.root
        self.step: Step[Any] | None = None
        self.call: Root | None = None
        self.answer: Any = None
        self.last: object = Node  # the result that was met here last, at first none that a step has, and where it led
        self.then: Node = self
        self.next: dict[tuple[type, Any], Node] | None = None  # by each result, once there are two

    def onward(self, result: Any) -> Node:
        """Where a result leads; if it was never met here, the call is run from here on, and learnt."""
        known = None
        if self.next is not None:
            known = self.next.get((type(result), result))
        elif result.__class__ is self.last.__class__ and result == self.last:  # 1 is not True
            known = self.then
        if known is None:
            known = self._learn(result)
        self.last, self.then = result, known
        return known

    def _learn(self, result: Any) -> Node:
        root = self.root
        run = root.run_to(self)
        new = Node(self, result)
        try:
            made = run.send(result)
            if made.__class__ is Step:
                new.step = made
            else:
                new.call = made
        except StopIteration as end:
            new.answer = end.value
        except Exception as error:  # noqa: BLE001 - which the caller is to meet where it awaits
            new.answer = Raised(error)
        root.ran_to = new
        root.learnt.kept += 1
        if self.next is None and self.then is not self:
            self.next = {(type(self.last), self.last): self.then}
        if self.next is not None:
            self.next[type(result), result] = new
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

    It yields itself, and a driver that knows of it goes from node to node, from `onward(None)`, makes their steps and
    the calls that it finds there instead of a step, and sends the answer.
    """

    __slots__ = ("at", "learnt", "ran_to", "run", "start", "types")

    def __init__(self, learnt: Learnt, given: tuple[Any, ...], start: Callable[[], Run]) -> None:
        super().__init__()
        self.root = self
        self.learnt = learnt
        self.types = [*map(type, given)]
        self.start = start
        self.run: Run | None = None
        """The coroutine, while the call is being made and some of it had to be run."""
        self.ran_to: Node = self
        """Where that one is."""
        self.at: Node = self
        """Where the call is, as far as its driver has told."""

    def __await__(self) -> Generator[Root, Any, Any]:
        answer = yield self
        if answer.__class__ is Raised:
            raise answer.error
        return answer

    __iter__ = __await__  # for generators that are coroutines

    def _learn(self, result: Any) -> Node:
        self.learnt.grown.append(self)
        return super()._learn(result)

    def run_to(self, node: Node) -> Run:
        """The coroutine, as far as that node; it may be elsewhere, for a call may be made within itself."""
        if self.run is None or self.ran_to is not node:
            self.run, self.ran_to = node.again(), node
        return self.run

    def is_over(self) -> None:
        """The call has come to its answer, and some of it had to be run."""
        assert self.run is not None
        self.run.close()
        self.run = None
        self.learnt.count_run()

    def forget(self) -> None:
        """What the call does is to be learnt again."""
        self.last, self.then, self.next = Node, self, None


class Learnt:
    """One function as one thread calls it: awaiting `learnt(...)` does what awaiting `function(...)` does.

    What is `part` of others' calls is learnt from its first call on, and whether or not that pays: as one call in the
    trees of those others it has to be one each time that they are run.
    """

    def __init__(self, function: Callable[..., Run], *, part: bool = False) -> None:
        self.function = function
        self.part = part
        self.kept = 0
        """In nodes."""
        self.called = 0
        self._ran = 0
        self._rests = 0
        """How many more calls are run as they are, for learning did not pay."""
        self._rested = TRIAL
        self._roots: dict[object, Root | None] = {}  # by arguments; None: they were met once, and may never be again
        self.grown: list[Root] = []  # calls of which something is kept, those too that only other functions know of

    def __call__(self, *arguments: Any, **options: Any) -> Awaitable[Any]:
        """The call, to be awaited."""
        given = (*arguments, KEYWORDS, *options, *options.values()) if options else arguments
        try:
            root = self._roots.get(given)
        except TypeError:  # what cannot be hashed may change
            return self.function(*arguments, **options)
        if root is None or root.types != [*map(type, given)]:  # 1 is not True
            root = self._meet(given, partial(self.function, *arguments, **options))
            if root is None:
                return self.function(*arguments, **options)
        self.called += 1
        return root

    def _meet(self, given: tuple[Any, ...], start: Callable[[], Run]) -> Root | None:
        """A new tree for a call with these arguments, or None if it is to be run as it is."""
        if self._rests:
            self._rests -= 1
            return None
        root = None
        if self.part or given in self._roots:
            root = self._roots[given] = Root(self, given, start)
        else:
            self._roots[given] = None
            self.called += 1
            self.count_run()
        self.kept += 1
        return root

    def count_run(self) -> None:
        """A call had to be run, wholly or in part."""
        self._ran += 1
        if self._ran == TRIAL:
            if self.called < 3 * self._ran and not self.part:
                self._rested *= 2
                self._rests = self._rested
            self._ran = self.called = 0
        if self._rests or self.kept > MOST:
            for root in self.grown:
                root.forget()
            self.grown.clear()
            self._roots.clear()
            self.kept = 0


WALKS: Final = frozenset({Root.__await__.__code__})
"""The code of the generators that stand for a call."""


def run_behind(frame: FrameType) -> Run:
    """A coroutine that is where the call is for which such a generator stands."""
    root: Root = frame.f_locals["self"]
    return root.run_to(root.at)
