"""The shortest counterexample: fewest steps first, then fewest switches from thread to thread.

A reduced search finds *that* a property breaks, along a representative that may be longer than need be.  This search is
unreduced and breadth first, stops at the first depth at which something breaks, and there picks the schedule with the
fewest context switches among all that are equally short.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mmsim.engine.search import Broken, Explored, Resting, Witness, allowed, bugs_at_start, rest
from mmsim.engine.tables import Fault, Outgrown, Path, Special, State, Tables

BrokenOutcome = Callable[[tuple[int, ...]], "tuple[str, str] | None"]
"""Judges the nodes of all threads in a quiescent state."""


class Found(NamedTuple):
    """A shortest path that breaks a property, the property, and how many states were stored on the way."""

    path: Path
    fault: Fault
    states: int


def shortest(
    tables: Tables,
    resting: Resting | None,
    broken_outcome: BrokenOutcome,
    *,
    most_states: int,
    out_of_time: Callable[[], bool] = bool,
) -> Found | None:
    """The shortest path that breaks a property; None if there is none, or `most_states` or the time were not enough."""
    while True:
        try:
            return _Shortest(tables, resting, broken_outcome, most_states, out_of_time).find()
        except Outgrown:
            tables.lay_out()


class _Shortest:
    def __init__(
        self,
        tables: Tables,
        resting: Resting | None,
        broken_outcome: BrokenOutcome,
        most_states: int,
        out_of_time: Callable[[], bool],
    ) -> None:
        self.tables = tables
        self.resting = resting
        self.broken_outcome = broken_outcome
        self.most_states = most_states
        self.out_of_time = out_of_time
        self.order = [t for t, thread in enumerate(tables.machine.threads) if not thread.silent]
        self.loud = len(self.order)
        self.order += [t for t, thread in enumerate(tables.machine.threads) if thread.silent]

    def find(self) -> Found | None:
        start = self.tables.initial()
        seen = {start}
        level = [start]
        early = bugs_at_start(self.tables)
        if early:
            return Found((), early[0].fault, 1)
        # for each depth: state -> the (state before, thread, alternative) it is reached by in exactly that many steps
        reached: list[dict[State, list[tuple[State, int, int]]]] = [{start: []}]
        while level:
            following: dict[State, list[tuple[State, int, int]]] = {}
            found: list[Broken] = []
            for state in level:
                self.expand(state, seen, following, found)
            if found:
                if all(broken.witness.tail for broken in found):
                    # one step more is what these take, and as much as a property broken in a state one deeper
                    deeper: list[Broken] = []
                    for state in following:
                        self.expand(state, seen, {}, deeper)
                    found += [broken for broken in deeper if not broken.witness.tail]
                    reached.append(following)
                path, fault = self.best(reached, found)
                return Found(path, fault, len(seen))
            seen |= following.keys()
            if len(seen) > self.most_states or self.out_of_time():
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
        places = tables.unpack(state)
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
                key = bytes(places)
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
        """Backwards from the broken states, then forwards choosing the fewest switches."""
        depth = {state: number for number, level in enumerate(reached) for state in level}
        length = min(depth[self.stored(broken)] + len(broken.witness.tail) for broken in found)
        candidates = [broken for broken in found if depth[self.stored(broken)] + len(broken.witness.tail) == length]
        useful: list[set[State]] = [set() for _ in reached]
        for broken in candidates:
            useful[depth[self.stored(broken)]].add(self.stored(broken))
        for number in range(len(reached) - 1, 0, -1):
            for state in useful[number]:
                useful[number - 1] |= {before for before, _, _ in reached[number][state]}
        # for each state the cheapest way to it, by the thread that made the last step: (switches, path)
        costs: dict[State, dict[int, tuple[int, Path]]] = {next(iter(reached[0])): {-1: (0, ())}}
        for level, keep in zip(reached[1:], useful[1:], strict=True):
            for state in level:
                if state not in keep:
                    continue
                for before, thread, alternative in level[state]:
                    for last, (switches, path) in costs.get(before, {}).items():
                        cost = switches + (last not in (-1, thread))
                        best = costs.setdefault(state, {}).get(thread)
                        if best is None or cost < best[0]:
                            costs[state][thread] = (cost, (*path, (thread, alternative)))
        answers = []
        for broken in candidates:
            tail = broken.witness.tail
            for last, (switches, path) in costs[self.stored(broken)].items():
                cost = switches + bool(tail and last not in (-1, tail[0][0]))
                answers.append((cost, (*path, *tail), broken.fault))
        _, path, fault = min(answers, key=lambda answer: answer[0])
        return path, fault

    def stored(self, broken: Broken) -> State:
        """The state that a broken property is told from."""
        assert broken.witness.stored is not None
        return broken.witness.stored
