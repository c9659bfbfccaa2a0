"""What a timed run found out.  All times are in ns of simulated time since the start of the run."""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

import attrs

from mmsim.steps import Context


class Running(Enum):
    """A thread that had not finished when the run was ended, and did not wait for anybody either."""

    RUNNING = "still running"


RUNNING = Running.RUNNING


class Ended(Enum):
    """Why a run ended."""

    FINISHED = "every thread finished"
    SILENT = "a device stays silent, and threads wait for it for ever"
    DEADLOCK = "threads wait for ever, for each other or for something that nobody will do"
    VIOLATION = "the kernel model met a bug, or a property that was watched was broken"
    UNTIL = "the time asked for was over"
    INTERRUPTED = "the user ended the run"


class TimedStep(NamedTuple):
    """One step as it was carried out; `time_ns` is the instant of its effect, which is the end of its duration."""

    time_ns: float
    cpu: int | None
    """None for what a device does by itself, on no CPU."""
    thread: str
    context: Context
    call: int | None
    """The index in `Result.system_calls` of the system call it is part of, if any."""
    depth: int
    """How many functions deep below the system call (or below the thread's own function) the step was made."""
    function: str
    file: str
    """Without its folder."""
    line: int
    word: str
    cell: str
    """'' for a step that acts on none."""
    old: Any
    new: Any
    result: Any
    waited_ns: float
    """How long the step was blocked before."""


@attrs.frozen
class SystemCall:
    """One system call of one thread."""

    thread: str
    name: str
    arguments: tuple[tuple[str, Any], ...]
    start_ns: float
    end_ns: float | None
    """None where the call had not returned at the end of the run."""
    steps: int

    @property
    def duration_ns(self) -> float | None:
        """How long it took, waiting included; None where it never returned."""
        return None if self.end_ns is None else self.end_ns - self.start_ns


@attrs.frozen
class LockUse:
    """How the locks of one class (all inodes' i_mutex, say) were used."""

    lock_class: str
    acquired: int
    waits: int
    """How many of these had to wait."""
    wait_ns: float
    """Their waiting together: from the blocked attempt until the lock was handed over."""
    longest_wait_ns: float


@attrs.frozen
class Blocked:
    """A thread that waited when the run ended, with no device or timer under way to wake it."""

    thread: str
    word: str
    cell: str
    holders: tuple[str, ...]
    """Who holds the lock; () where it is no lock that the thread waits for."""
    since_ns: float

    def __str__(self) -> str:
        held = f", held by {' and '.join(self.holders)}" if self.holders else ""
        return f"{self.thread} waits for {self.cell} ({self.word}){held}, since {self.since_ns / 1000:.3f} µs"


@attrs.frozen
class Result:
    """A timed run."""

    outcomes: tuple[tuple[str, Any], ...]
    """What each thread returned, WAITING (blocked for ever), or RUNNING."""
    ended: Ended
    end_ns: float
    steps: int
    cpus: int
    seed: int
    busy_ns: tuple[float, ...]
    """For how long each CPU was not idle."""
    locks: tuple[LockUse, ...]
    blocked: tuple[Blocked, ...] = ()
    """Tasks that wait for ever, and interrupts that do so for anything but their next request."""
    violation: tuple[str, str] | None = None
    """As in `mmsim.trace.Execution`: the property's name, and what happened."""
    timeline: tuple[TimedStep, ...] = ()
    """Every step in the order of its effects, if it was asked for."""
    system_calls: tuple[SystemCall, ...] = ()
    """In the order of their beginning, if the timeline was asked for."""

    def outcome(self, thread: str) -> Any:
        """What the thread of that name returned, WAITING or RUNNING.  Raises KeyError."""
        return dict(self.outcomes)[thread]
