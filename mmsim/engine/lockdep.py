"""Lock order, as Documentation/locking/lockdep-design.rst has it: by class of lock, over all that was learnt.

An order that is taken both ways round is reported even where no explored execution deadlocked, and so is a lock that
an interrupt takes while somebody else holds it with interrupts on.  Not judged: the nesting of two locks of one class
(two mms during fork), which Linux annotates by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from mmsim.cells import Lock
from mmsim.engine.automaton import Automaton
from mmsim.steps import Context


@attrs.frozen
class LockFault:
    """A rule of locking that some node breaks: the node, and what to say of it."""

    thread: int
    node: int
    property: str
    detail: str


def _acquisitions(automata: Iterable[Automaton]) -> Iterator[tuple[int, int, Lock, bool, tuple[Lock, ...]]]:
    """(thread, node, lock, interrupts off, locks held) for every acquisition learnt."""
    for thread, automaton in enumerate(automata):
        for node in automaton.nodes:
            if node.step is not None and node.step.acquires:
                off = node.step.word == "lock_irqsave" or any(word == "lock_irqsave" for _, word in node.held)
                yield thread, node.number, node.step.cell, off, tuple(lock for lock, _ in node.held)


def lock_fault(automata: list[Automaton]) -> LockFault | None:
    """The first violation of lock order or of interrupt safety among all that was learnt, or None."""
    after: dict[str, dict[str, str]] = {}
    in_interrupt: dict[str, str] = {}
    for thread, _node, lock, _off, held in _acquisitions(automata):
        name = automata[thread].thread.name
        if automata[thread].thread.context is not Context.TASK:
            in_interrupt.setdefault(lock.lock_class, name)
        for outer in held:
            if outer.lock_class != lock.lock_class:
                after.setdefault(outer.lock_class, {}).setdefault(lock.lock_class, name)
    for thread, number, lock, off, held in _acquisitions(automata):
        name = automata[thread].thread.name
        task = automata[thread].thread.context is Context.TASK
        if task and not off and not lock.sleeps and lock.lock_class in in_interrupt:
            detail = (
                f"{name} takes {lock.lock_class} with interrupts on, and {in_interrupt[lock.lock_class]} takes it "
                "in an interrupt: on one CPU the interrupt would spin for ever"
            )
            return LockFault(thread, number, "no lock is taken unsafely for interrupts", detail)
        for outer in held:
            path = _path(after, lock.lock_class, outer.lock_class)
            if path and outer.lock_class != lock.lock_class:
                detail = f"{name} takes {lock.lock_class} under {outer.lock_class}, elsewhere {' -> '.join(path)}"
                return LockFault(thread, number, "no lock inversion", detail)
    return None


def _path(after: dict[str, dict[str, str]], start: str, goal: str) -> list[str]:
    """A chain of classes, each taken under the one before, from `start` to `goal`; [] if there is none."""
    trail: list[list[str]] = [[start]]
    seen = {start}
    for path in trail:
        if path[-1] == goal:
            return path
        for follower in after.get(path[-1], ()):
            if follower not in seen:
                seen.add(follower)
                trail.append([*path, follower])
    return []
