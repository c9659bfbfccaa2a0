"""Threads, learnt as automata.

A coroutine cannot be copied, but it is a deterministic function of the results it has been sent.  So each thread is
learnt: a node is a local state and the step pending there, an edge leads from a result to the next node, and the
coroutine runs only when an edge is met for the first time.  Two histories that end in the same local state
(`mmsim.engine.localstate`) share a node; in audit mode, or where the local state cannot be told, they stay apart.

The rules that need only one thread are judged here, when a node is learnt: no sleeping in atomic context, no sleeping
lock in an interrupt, no lock still held when a thread ends.  The order of locks is recorded for `mmsim.engine.lockdep`.
"""

from __future__ import annotations

import linecache
from collections.abc import Coroutine, Hashable
from traceback import walk_tb
from types import FrameType
from typing import Any, NoReturn

from mmsim.cells import Lock, SpinLock
from mmsim.engine.localstate import local_state
from mmsim.errors import UserError
from mmsim.steps import Context, KernelBug, Step
from mmsim.threads import Thread
from mmsim.trace import Frame

Held = tuple[tuple[Lock, str], ...]
"""Locks held, each with the word of the step that took it: `lock`, `lock_irqsave` or `lock_shared`."""


class Node:
    """One local state of a thread: a pending step, or the end (`ended`, with `outcome`), or a bug (`bug`)."""

    __slots__ = ("bug", "ended", "frames", "held", "history", "live", "local", "next", "number", "outcome", "step")

    def __init__(self, number: int, history: tuple[Any, ...]) -> None:
        self.number = number
        self.history = history  # the results that first led here
        self.step: Step[Any] | None = None
        self.next: dict[tuple[type, Any], int] = {}
        self.held: Held = ()
        self.frames: tuple[Frame, ...] = ()
        self.ended = False
        self.outcome: Any = None
        self.bug: tuple[str, str] | None = None
        self.local: Hashable | None = None
        self.live: Coroutine[Any, Any, object] | None = None  # suspended just here, not yet used up


class Automaton:
    """What is known of one thread so far.  Node 0 is its start."""

    def __init__(self, thread: Thread, *, merge: bool = True) -> None:
        self.thread = thread
        self.merge = merge
        self.nodes: list[Node] = []
        self._by_state: dict[Hashable, int] = {}
        self.merging = True  # False once some local state could not be told
        self.edges = 0
        self._add((), thread.start(), None, ())

    def follow(self, number: int, result: Any) -> int:
        """The node after `number` when its step had `result`.  Runs the coroutine if that was never seen."""
        node = self.nodes[number]
        key = (type(result), result)
        known = node.next.get(key)
        if known is None:
            known = node.next[key] = self._learn(node, result)
        return known

    def _learn(self, node: Node, result: Any) -> int:
        coroutine, node.live = node.live, None
        if coroutine is None:
            coroutine = self._run_again(node)
        held = self._held_after(node)
        self.edges += 1
        return self._add((*node.history, result), coroutine, node, held, result)

    def _run_again(self, node: Node) -> Coroutine[Any, Any, object]:
        coroutine = self.thread.start()
        at = self.nodes[0]
        step = self._send(coroutine, None)
        for result in node.history:
            if step != at.step:
                self._not_deterministic(at, step, coroutine)
            number = at.next.get((type(result), result))
            if number is None:
                break
            at = self.nodes[number]
            step = self._send(coroutine, result)
        if step != node.step or (node.local is not None and node.local != local_state(coroutine)):
            self._not_deterministic(node, step, coroutine)
        return coroutine

    def _check_end(self, before: Node, result: Any, value: object) -> None:
        """A second run must return the same."""
        coroutine = self._run_again(before)
        try:
            step: object = coroutine.send(result)
        except StopIteration as end:
            if end.value == value:
                return
            step = end.value
        self._not_deterministic(before, step, coroutine, f"returned {value!r}")

    def _send(self, coroutine: Coroutine[Any, Any, object], result: Any) -> Step[Any] | None:
        try:
            return self._checked(coroutine, coroutine.send(result))
        except (StopIteration, KernelBug):
            return None

    def _checked(self, coroutine: Coroutine[Any, Any, object], step: object) -> Step[Any]:
        if isinstance(step, Step):
            return step
        where = self._own_line([(frame.f_code.co_filename, frame.f_lineno) for frame in _stack(coroutine)])
        msg = (
            f"thread {self.thread.name} awaits something that is no step at {where}: "
            f"it yielded {step!r}; only steps of mmsim.steps and the verbs of cells may be awaited"
        )
        raise UserError(msg)

    def line(self, node: Node) -> str:
        """Where a node's step is awaited."""
        frame = node.frames[-1] if node.frames else None
        return f"{frame.file}:{frame.line}" if frame else "its start"

    def _own_line(self, stack: list[tuple[str, int]]) -> str:
        """The innermost line of the file that the thread's own function stands in, with its text."""
        own = stack[0][0]
        file, line = next((entry for entry in reversed(stack) if entry[0] == own), stack[-1])
        return f"{file.rpartition('/')[2]}:{line} ({linecache.getline(file, line).strip()})"

    def _not_deterministic(
        self, node: Node, step: object, coroutine: Coroutine[Any, Any, object], first: str = ""
    ) -> NoReturn:
        here = node.frames[-1] if node.frames else None
        now = frames_of(coroutine)
        seen = "the same with other local values" if step == node.step else repr(step)
        msg = (
            f"thread {self.thread.name} behaves differently when it is run again: after the same results it first "
            f"{first or f'did {node.step!r}'} at {here and here.file}:{here and here.line}, now {seen}"
            f"{f' at {now[-1].file}:{now[-1].line}' if now else ''}; look there for a random number, a clock, the "
            f"order of a set, a global variable or a mutable default argument"
        )
        raise UserError(msg)

    def _add(
        self,
        history: tuple[Any, ...],
        coroutine: Coroutine[Any, Any, object],
        before: Node | None,
        held: Held,
        result: Any = None,
    ) -> int:
        node = Node(len(self.nodes), history)
        node.held = held
        try:
            node.step = self._checked(coroutine, self._sent(coroutine, result))
        except StopIteration as end:
            node.ended = True
            node.outcome = end.value
            state: Hashable = ("ended", self._outcome(end.value), held)
            if before is not None:
                self._check_end(before, result, end.value)
            if held:
                node.bug = ("no lock is held at the end", f"{self.thread.name} ends while it holds {held[0][0]}")
        except KernelBug as bug:
            node.bug = ("no kernel bug", str(bug))
            node.frames = before.frames if before else ()
            state = ("bug", str(bug), before and before.number)
        except (UserError, GeneratorExit, KeyboardInterrupt):
            raise
        except Exception as error:
            raise UserError(self._crash(error)) from error
        else:
            node.live = coroutine
            node.frames = frames_of(coroutine)
            node.bug = self._rules(node, node.step)
            local = local_state(coroutine) if self.merge and self.merging else None
            self.merging = self.merging and (local is not None or not self.merge)
            node.local = local
            state = ("at", local, node.step, held) if local is not None else ("history", history)
        try:
            known = self._by_state.get(state)
        except TypeError as error:
            msg = (
                f"thread {self.thread.name}, at {self.line(node)}: an operand of {node.step!r} is no constant: {error}"
            )
            raise UserError(msg) from error
        if known is not None:
            return known
        self._by_state[state] = node.number
        self.nodes.append(node)
        return node.number

    def _outcome(self, value: Any) -> Hashable:
        try:
            hash(value)
        except TypeError:
            msg = (
                f"thread {self.thread.name} returned {value!r}, which is not hashable; "
                "return an int, bytes, a tuple or a frozen attrs value"
            )
            raise UserError(msg) from None
        return (type(value), value)

    def _sent(self, coroutine: Coroutine[Any, Any, object], result: Any) -> object:
        """What the coroutine yields next.  A scenario that asks for what there is not is told in which line it does."""
        try:
            return coroutine.send(result)
        except UserError as error:
            stack = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
            msg = f"thread {self.thread.name}, at {self._own_line(stack[1:])}: {error}"
            raise UserError(msg) from None

    def _crash(self, error: Exception) -> str:
        told = f"{type(error).__name__}: {error}"
        stack = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
        stack = stack[2:]  # who called the coroutine is no part of the thread
        if not stack:
            return f"thread {self.thread.name} failed: {told}"
        return f"thread {self.thread.name} failed at {self._own_line(stack)}: {told}"

    def _held_after(self, node: Node) -> Held:
        step = node.step
        if step is not None and step.word == "downgrade":
            return tuple((lock, "lock_shared" if lock is step.cell else word) for lock, word in node.held)
        if step is None or not (step.acquires or step.releases):
            return node.held
        if step.acquires:
            return (*node.held, (step.cell, step.word))
        rest = list(node.held)
        for position in range(len(rest) - 1, -1, -1):
            if rest[position][0] is step.cell:
                del rest[position]
                break
        return tuple(rest)

    def _rules(self, node: Node, step: Step[Any]) -> tuple[str, str] | None:
        if (step.releases or step.word == "downgrade") and all(lock is not step.cell for lock, _ in node.held):
            # the reduction relies on it: nobody gets past a lock before the one who holds it moves
            return ("no kernel bug", f"{step.word} {step.cell}: {self.thread.name} does not hold it")
        if not step.sleeps:
            return None
        what = f"{step.word} {step.cell or ''}".strip()
        context = self.thread.context
        # in its outermost frame an interrupt source is between two interrupts: it waits for work, in no context
        if context is not Context.TASK and len(node.frames) > 1:
            return ("no sleeping in atomic context", f"{what} may sleep in {context.value} context")
        spin = next((lock for lock, _ in node.held if isinstance(lock, SpinLock)), None)
        if spin is not None:
            return ("no sleeping in atomic context", f"{what} may sleep while {self.thread.name} holds {spin}")
        return None


def frames_of(coroutine: Any) -> tuple[Frame, ...]:
    """The functions on a suspended coroutine's stack, outermost first, the step's own machinery left out."""
    frames: list[Frame] = []
    while coroutine is not None and getattr(coroutine, "cr_frame", None) is not None:
        frame = coroutine.cr_frame
        code = frame.f_code
        if not (code.co_name in ("__aenter__", "__aexit__") and frames):
            arguments: tuple[tuple[str, Any], ...] = ()
            if "self" in code.co_varnames[: code.co_argcount]:
                names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
                arguments = tuple((name, frame.f_locals.get(name)) for name in names)
            frames.append(Frame(code.co_name, code.co_filename.rpartition("/")[2], frame.f_lineno, arguments))
        coroutine = coroutine.cr_await
    return tuple(frames)


def _stack(coroutine: Any) -> list[FrameType]:
    """The frames of whatever a suspended coroutine awaits, outermost first."""
    frames = []
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        if frame is None:
            break
        frames.append(frame)
        coroutine = coroutine.cr_await
    return frames
