"""Bounds of a search: states, seconds, bytes; each ends it with a sentence, never with a shrug."""

from __future__ import annotations

import sys
from collections.abc import Callable

import attrs

from mmsim.engine.search import Explored, Stop

Clock = Callable[[], float]
SECONDS_BETWEEN_REPORTS = 0.25


@attrs.frozen
class Bounds:
    """When to give up: `max_memory` counts the bytes of stored states."""

    max_states: int | None = None
    max_seconds: float | None = None
    max_memory: int | None = None


@attrs.frozen
class Progress:
    """How far a search has come.  `seconds` since it began, `memory` in bytes of stored states."""

    states: int
    transitions: int
    depth: int
    waiting: int
    seconds: float
    memory: int


def memory_of(explored: Explored) -> int:
    """Bytes that the stored states take: the table and each state in it."""
    example = next(iter(explored.seen), b"")
    return sys.getsizeof(explored.seen) + len(explored.seen) * sys.getsizeof(example)


def stopper(bounds: Bounds, clock: Clock, report: Callable[[Progress], None] | None) -> Stop:
    """What a search asks now and then whether to go on."""
    began = clock()
    reported = began

    def stop(explored: Explored) -> str | None:
        nonlocal reported
        now = clock()
        memory = memory_of(explored)
        if report is not None and now - reported >= SECONDS_BETWEEN_REPORTS:
            reported = now
            report(
                Progress(explored.states, explored.transitions, explored.depth, explored.waiting, now - began, memory)
            )
        if bounds.max_states is not None and explored.states >= bounds.max_states:
            return f"{bounds.max_states} states"
        if bounds.max_seconds is not None and now - began >= bounds.max_seconds:
            return f"{bounds.max_seconds:g} seconds"
        if bounds.max_memory is not None and memory >= bounds.max_memory:
            return f"{bounds.max_memory} bytes of states"
        return None

    return stop
