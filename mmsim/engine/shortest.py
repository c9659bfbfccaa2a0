"""The shortest counterexample: fewest steps first, then fewest switches from thread to thread.

A reduced search finds *that* a property breaks, along a representative that may be longer than need be.  This search is
unreduced and breadth first, stops at the first depth at which something breaks, and there picks the schedule with the
fewest context switches among all that are equally short.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable

from mmsim.engine.search import Broken, Explored, Path, Resting, Witness, allowed, rest
from mmsim.engine.tables import Outgrown, Special, State, Tables

BrokenOutcome = Callable[[tuple[int, ...]], "tuple[str, str] | None"]
"""Judges the nodes of all threads in a quiescent state."""


def shortest(
    tables: Tables, resting: Resting | None, broken_outcome: BrokenOutcome, *, most_states: int
) -> tuple[Path, tuple[str, str]] | None:
    """The shortest path that breaks a property, with the property; None if `most_states` were not enough."""
    while True:
        try:
            return _Shortest(tables, resting, broken_outcome, most_states).find()
        except Outgrown:
            tables.lay_out()


class _Shortest:
    def __init__(
        self, tables: Tables, resting: Resting | None, broken_outcome: BrokenOutcome, most_states: int
    ) -> None:
        self.tables = tables
        self.resting = resting
        self.broken_outcome = broken_outcome
        self.most_states = most_states
        self.order = [t for t, thread in enumerate(tables.machine.threads) if not thread.silent]
        self.loud = len(self.order)
        self.order += [t for t, thread in enumerate(tables.machine.threads) if thread.silent]

    def find(self) -> tuple[Path, tuple[str, str]] | None:
        start = self.tables.initial()
        seen = {start}
        level = [start]
        # for each depth: state -> the (state before, thread, alternative) it is reached by in exactly that many steps
        reached: list[dict[State, list[tuple[State, int, int]]]] = [{start: []}]
        while level:
            following: dict[State, list[tuple[State, int, int]]] = {}
            found: list[Broken] = []
            for state in level:
                self.expand(state, seen, following, found)
            if found:
                return self.best(reached, found)
            seen |= following.keys()
            if len(seen) > self.most_states:
                return None
            reached.append(following)
            level = list(following)
        return None

    def expand(
        self,
        state: State,
        seen: set[State],
        following: dict[State, list[tuple[State, int, int]]],
        found: list[Broken],
    ) -> None:
        tables = self.tables
        places = array(tables.typecode, state)
        notes = Explored()
        moved = False
        for position, thread in enumerate(self.order):
            if position == self.loud and not moved:
                fault = self.broken_outcome(tuple(places[: tables.threads]))
                if fault is not None:
                    found.append(Broken(Witness(state), fault))
            place, row = tables.rows[thread][places[thread]]
            value, node = places[place], places[thread]
            move = row[value]
            if move is None:
                continue
            moved = True
            if move.__class__ is Special:
                moves = move.alternatives
                good = allowed(tables, notes, places, thread, move, Witness(state))
            else:
                moves = good = [move]
            for alternative, (new, after) in enumerate(moves):
                if (new, after) not in good:
                    continue
                places[place], places[thread] = new, after
                key = places.tobytes()
                if key not in seen:
                    following.setdefault(key, []).append((state, thread, alternative))
                places[place], places[thread] = value, node
        if self.loud == len(self.order) and not moved:
            fault = self.broken_outcome(tuple(places[: tables.threads]))
            if fault is not None:
                found.append(Broken(Witness(state), fault))
        if not moved:
            rest(tables, notes, places, self.resting, Witness(state))
        found.extend(notes.broken)

    def best(
        self, reached: list[dict[State, list[tuple[State, int, int]]]], found: list[Broken]
    ) -> tuple[Path, tuple[str, str]]:
        """Backwards from the broken states, then forwards choosing the fewest switches.

        A property broken *in* a state needs one step less than one broken by a move out of it.
        """
        candidates = [broken for broken in found if not broken.witness.tail] or found
        wanted = {broken.witness.stored for broken in candidates}
        useful: list[set[State | None]] = [wanted]
        for level in reversed(reached[1:]):
            useful.append({before for state, ways in level.items() if state in useful[-1] for before, _, _ in ways})
        useful.reverse()
        # (state, last thread) -> (switches, path)
        costs: dict[State | None, dict[int, tuple[int, Path]]] = {next(iter(reached[0])): {-1: (0, ())}}
        for level, keep in zip(reached[1:], useful[1:], strict=True):
            after: dict[State | None, dict[int, tuple[int, Path]]] = {}
            for state in level:
                if state not in keep:
                    continue
                for before, thread, alternative in level[state]:
                    for last, (switches, path) in costs.get(before, {}).items():
                        cost = switches + (last not in (-1, thread))
                        best = after.setdefault(state, {}).get(thread)
                        if best is None or cost < best[0]:
                            after[state][thread] = (cost, (*path, (thread, alternative)))
            costs = after
        answers = []
        for broken in candidates:
            tail = broken.witness.tail
            for last, (switches, path) in costs[broken.witness.stored].items():
                cost = switches + bool(tail and last not in (-1, tail[0][0]))
                answers.append((cost, (*path, *tail), broken.fault))
        _, path, fault = min(answers, key=lambda answer: answer[0])
        return path, fault
