"""What a thread may still do: the footprint of everything reachable from a node of its automaton.

Footprints are bit masks over places, one each for reads, adds and writes.  A future can be limited to what a thread
may do *before* it needs a lock that somebody else holds: while the holder does not move, the thread cannot get past
that lock, so nothing behind it can conflict with the holder's next step.
"""

from __future__ import annotations

from typing import NamedTuple

from mmsim.cells import Lock
from mmsim.engine.automaton import Held
from mmsim.engine.tables import Tables
from mmsim.steps import Access


class Footprint(NamedTuple):
    """Places read, added to and written, as bit masks."""

    reads: int
    adds: int
    writes: int

    def clashes(self, other: Footprint) -> int:
        """Places where a step of the one cannot be swapped with a step of the other."""
        return (
            self.writes & (other.reads | other.adds | other.writes)
            | self.reads & (other.adds | other.writes)
            | self.adds & (other.reads | other.writes)
        )


NOTHING = Footprint(0, 0, 0)

Barrier = frozenset[tuple[Lock, bool]]
"""Locks held by others, each with whether it is held for reading only."""


def barrier(held: Held) -> Barrier:
    """The locks in `held`, as something others cannot get past."""
    return frozenset((lock, word == "lock_shared") for lock, word in held)


class Futures:
    """Footprints of the automata as they are known now; make a new one when something was learnt."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._pending = [
            [self._step(thread, number) for number in range(len(automaton.nodes))]
            for thread, automaton in enumerate(tables.automata)
        ]
        self._known: dict[tuple[int, Barrier], list[Footprint]] = {}
        self._locks = [
            frozenset(node.step.cell for node in automaton.nodes if node.step is not None and node.step.acquires)
            for automaton in tables.automata
        ]

    def pending(self, thread: int, number: int) -> Footprint:
        """What the next step of `thread` touches."""
        known = self._pending[thread]
        return known[number] if number < len(known) else self._step(thread, number)

    def _step(self, thread: int, number: int) -> Footprint:
        node = self.tables.node(thread, number)
        step = node.step
        looked = 0
        for place in self.tables.footprint.get((thread, number), ()):
            looked |= 1 << place
        if step is None or node.bug is not None or step.cell is None:
            return Footprint(looked, 0, 0)
        bit = 1 << self.tables.place(step.cell)
        return Footprint(
            looked | (bit if step.access is Access.READ else 0),
            bit if step.access is Access.ADD else 0,
            bit if step.access is Access.WRITE else 0,
        )

    def of(self, thread: int, number: int, behind: Barrier) -> Footprint:
        """What `thread` may still do from a node without getting past the locks in `behind`."""
        relevant = frozenset(held for held in behind if held[0] in self._locks[thread]) if behind else behind
        known = self._known.get((thread, relevant))
        if known is None:
            known = self._known[thread, relevant] = self._solve(thread, relevant)
        # a node learnt since has no future yet: the pass that met it will be repeated
        return known[number] if number < len(known) else self.pending(thread, number)

    def _solve(self, thread: int, behind: Barrier) -> list[Footprint]:
        """Backwards to a fixed point: a node's future is its step and the futures of its successors."""
        own = self._pending[thread]
        nodes = self.tables.automata[thread].nodes[: len(own)]
        shut = [
            node.step is not None
            and node.step.acquires
            and any(
                node.step.cell is lock and not (shared and node.step.word == "lock_shared") for lock, shared in behind
            )
            for node in nodes
        ]
        solved = [NOTHING if closed else own[number] for number, closed in enumerate(shut)]
        changed = True
        while changed:
            changed = False
            for number in range(len(nodes) - 1, -1, -1):
                if shut[number]:
                    continue
                reads, adds, writes = old = solved[number]
                for after in nodes[number].next.values():
                    if after >= len(nodes):
                        continue
                    more = solved[after]
                    reads |= more.reads
                    adds |= more.adds
                    writes |= more.writes
                if (reads, adds, writes) != old:
                    solved[number] = Footprint(reads, adds, writes)
                    changed = True
        return solved
