"""The timeline: where in the source each step was made, and which system call it was part of."""

from __future__ import annotations

from collections.abc import Coroutine
from types import CodeType, FrameType
from typing import Any

import attrs

from mmsim.steps import Step
from mmsim.threads import Thread
from mmsim.timed.learnt import WALKS, run_behind
from mmsim.timed.result import SystemCall, TimedStep

_MACHINERY = ("mmsim/steps.py", "mmsim/cells.py", "mmsim/threads.py", "mmsim/machine.py")
_SYSTEM_CALLS = "mmsim/kernel/entry/"


def suspended_at(coroutine: object) -> list[tuple[object, FrameType]]:
    """The coroutines (or generators) that a suspended one awaits through, outermost first, each with its frame.

    A call that is learnt stands for itself, whatever coroutine tells its frame.
    """
    found = []
    awaited: Any = coroutine
    walk: object = None
    while awaited is not None:
        if hasattr(awaited, "cr_frame"):
            frame, following = awaited.cr_frame, awaited.cr_await
        elif hasattr(awaited, "gi_frame"):
            frame, following = awaited.gi_frame, awaited.gi_yieldfrom
        else:
            break
        if frame is None:
            break
        if frame.f_code in WALKS:
            walk = walk or awaited
            following = following or run_behind(frame)
        else:
            found.append((walk or awaited, frame))
            walk = None
        awaited = following
    return found


def where(coroutine: object) -> str:
    """The innermost place outside the steps' own machinery: `munmap() at mmap.py:31`; '' if there is none."""
    for _, frame in reversed(suspended_at(coroutine)):
        if not _within(frame.f_code, *_MACHINERY):
            return f"{frame.f_code.co_name}() at {_file(frame.f_code)}:{frame.f_lineno}"
    return ""


def _within(code: CodeType, *files: str) -> bool:
    return code.co_filename.replace("\\", "/").endswith(files)


SYSTEM_CALL = 2


def _kind(code: CodeType) -> int:
    """0 for the machinery of steps, `SYSTEM_CALL` for one of the model, 1 for all else."""
    if _SYSTEM_CALLS in code.co_filename.replace("\\", "/"):
        return SYSTEM_CALL
    return 0 if _within(code, *_MACHINERY) else 1


def _file(code: CodeType) -> str:
    return code.co_filename.replace("\\", "/").rpartition("/")[2]


def _arguments(frame: FrameType) -> tuple[tuple[str, Any], ...]:
    code = frame.f_code
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    values = frame.f_locals
    return tuple((name, values[name]) for name in names if name != "self" and name in values)


class _Track:
    """Where one thread is: its current system call, and when its last step ended."""

    __slots__ = ("call", "coroutine", "last_ns")

    def __init__(self) -> None:
        self.call: int | None = None
        self.coroutine: object = None
        self.last_ns: float = 0


class Recorder:
    """Keeps the timeline and the system calls of one run."""

    def __init__(self) -> None:
        self.steps: list[TimedStep] = []
        self.system_calls: list[SystemCall] = []
        self._tracks: dict[str, _Track] = {}
        self._kinds: dict[CodeType, int] = {}

    def step(
        self,
        time_ns: float,
        cpu: int | None,
        thread: Thread,
        coroutine: Coroutine[Any, Any, object],
        step: Step[Any],
        effect: tuple[Any, Any, Any],
        waited_ns: float,
    ) -> None:
        """Record a step's (old value, new value, result) while its coroutine is still suspended at it."""
        track = self._track(thread.name)
        stack = suspended_at(coroutine)
        entry, innermost = self._places(stack)
        called = stack[entry][0] if entry is not None else None
        if called is not track.coroutine:
            self.left(thread.name)
            if entry is not None:
                frame = stack[entry][1]
                track.call = len(self.system_calls)
                self.system_calls.append(
                    SystemCall(thread.name, frame.f_code.co_name, _arguments(frame), track.last_ns, None, 0)
                )
            track.coroutine = called
        frame = stack[innermost][1]
        code = frame.f_code
        depth = innermost - (entry if entry is not None else 0)
        old, new, result = effect
        self.steps.append(
            TimedStep(time_ns, cpu, thread.name, thread.context, track.call, depth, code.co_name, _file(code),
                      frame.f_lineno, step.word, str(step.cell or ""), old, new, result, waited_ns)
        )  # fmt: skip
        track.last_ns = time_ns
        if track.call is not None:
            call = self.system_calls[track.call]
            self.system_calls[track.call] = attrs.evolve(call, steps=call.steps + 1)

    def went_on(self, thread: str, time_ns: float) -> None:
        """The thread goes on only now, after a sleep."""
        self._track(thread).last_ns = time_ns

    def left(self, thread: str) -> None:
        """The thread is outside the system call it was in, if it was in one, since the end of its last step."""
        track = self._tracks.get(thread)
        if track is not None and track.call is not None:
            self.system_calls[track.call] = attrs.evolve(self.system_calls[track.call], end_ns=track.last_ns)
            track.call = track.coroutine = None

    def _track(self, thread: str) -> _Track:
        return self._tracks.get(thread) or self._tracks.setdefault(thread, _Track())

    def _places(self, stack: list[tuple[object, FrameType]]) -> tuple[int | None, int]:
        """The indexes in a stack of the system call's frame and of the innermost frame that a reader cares for."""
        entry, innermost = None, 0
        for index, (_, frame) in enumerate(stack):
            kind = self._kinds.get(frame.f_code)
            if kind is None:
                kind = self._kinds[frame.f_code] = _kind(frame.f_code)
            if kind:
                innermost = index
                if kind == SYSTEM_CALL and entry is None:
                    entry = index
        return entry, innermost
