"""The unreduced search: every interleaving, breadth first.  The reference that every reduction is tested against.

The inner loop executes nothing of the model.  A state is expanded by one look-up per thread in the learnt tables; the
places that a move changes are written into the unpacked state, packed, looked up among the states seen, and put back.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from mmsim.engine.progress import livelock
from mmsim.engine.tables import Fault, Outgrown, Path, Places, Row, Special, State, Tables

STATES_BETWEEN_CHECKS = 64


@attrs.frozen
class Witness:
    """How to get somewhere: to a stored state, and from there by `tail`."""

    stored: State | None
    tail: Path = ()


@attrs.frozen
class Broken:
    """A property broken by the last move on the way to `witness`, or by being there."""

    witness: Witness
    fault: Fault


@attrs.define
class Explored:
    """What a search has seen.  `stopped` says which bound ended it, or is None if it is complete."""

    seen: dict[State, State | None] = attrs.field(factory=dict)
    """Every state stored, with the state it was first reached from."""
    transitions: int = 0
    depth: int = 0
    waiting: int = 0
    quiescent: dict[tuple[int, ...], Witness] = attrs.field(factory=dict)
    """Nodes of all threads where only silent ones could still move, with a way there."""
    broken: list[Broken] = attrs.field(factory=list)
    stopped: str | None = None
    passes: int = 1
    """How often a reduced search was repeated because it had learnt something."""

    @property
    def states(self) -> int:
        """How many states are stored."""
        return len(self.seen)


Stop = Callable[[Explored], "str | None"]
"""Asked now and then; a sentence that names the bound reached ends the search."""

Resting = Callable[[Tables, Places], "Fault | None"]
"""Judges a state in which nothing can move any more."""


def never(_explored: Explored) -> str | None:
    """No bound at all."""
    return None


def explore(
    tables: Tables, *, resting: Resting | None = None, stop: Stop = never, depth: int | None = None
) -> Explored:
    """Every state reachable within `depth` steps (None: all).  KeyboardInterrupt ends it as a bound does."""
    while True:
        found = Explored()
        try:
            _explore(tables, found, resting, stop, depth)
            conclude(tables, found, stop)
        except Outgrown:
            tables.lay_out()
            continue
        except KeyboardInterrupt:
            found.stopped = "interrupted"
        return found


def _explore(tables: Tables, found: Explored, resting: Resting | None, stop: Stop, depth: int | None) -> None:
    seen = found.seen
    start = tables.initial()
    seen[start] = None
    found.broken += bugs_at_start(tables)
    loud = [(t, tables.rows[t]) for t, thread in enumerate(tables.machine.threads) if not thread.silent]
    silent = [(t, tables.rows[t]) for t, thread in enumerate(tables.machine.threads) if thread.silent]
    groups = (loud, silent)
    unpack = tables.unpack
    pack = bytes
    frontier = [start]
    check = STATES_BETWEEN_CHECKS - 1  # so that the first state is checked as well
    while frontier:
        if found.depth == depth:
            found.waiting = len(frontier)
            return
        following: list[State] = []
        append = following.append
        for state in frontier:
            check += 1
            if check == STATES_BETWEEN_CHECKS:
                check = 0
                found.waiting = len(frontier) + len(following)
                found.stopped = stop(found)
                if found.stopped is not None:
                    return
            places = unpack(state)
            before = transitions = found.transitions
            for group in groups:
                for thread, rows in group:
                    node = places[thread]
                    place, row = rows[node]
                    value = places[place]
                    move = row.known[value]
                    if move.__class__ is tuple:
                        transitions += 1
                        places[place], places[thread] = move
                        reached = pack(places)
                        if reached not in seen:
                            seen[reached] = state
                            append(reached)
                    elif move is None:
                        continue
                    else:
                        moves, made = _learnt(tables, found, places, thread, row, Witness(state))
                        transitions += made
                        for new, after in moves:
                            places[place], places[thread] = new, after
                            reached = pack(places)
                            if reached not in seen:
                                seen[reached] = state
                                append(reached)
                    places[place] = value
                    places[thread] = node
                if group is loud and transitions == before:
                    found.quiescent.setdefault(tuple(places[: tables.threads]), Witness(state))
            if transitions == before:
                rest(tables, found, places, resting, Witness(state))
            found.transitions = transitions
        frontier = following
        found.depth += 1
    found.waiting = 0


def conclude(tables: Tables, found: Explored, stop: Stop) -> None:
    """What only a complete search can tell, and is asked where nothing else is broken: whether there is a livelock."""
    if found.stopped is not None or found.waiting or found.broken:
        return

    def enough(looked_at: dict[State, State | None]) -> bool:
        bound = stop(Explored(looked_at, found.transitions, found.depth))
        if bound is not None:
            found.stopped = f"{bound}, in the search for livelocks"
        return bound is not None

    spinning = livelock(tables, found.seen, enough)
    if spinning is not None:
        found.broken.append(Broken(Witness(spinning.start), spinning.fault))


def _learnt(
    tables: Tables, found: Explored, places: Places, thread: int, row: Row, here: Witness
) -> tuple[list[tuple[int, int]], int]:
    """The moves of a thread where they are not the ordinary one, or not learnt yet; and how many were tried."""
    move = row[places[tables.rows[thread][places[thread]][0]]]
    if move is None:
        return [], 0
    if move.__class__ is Special:
        return allowed(tables, found, places, thread, move, here), len(move.alternatives)
    return [move], 1


def bugs_at_start(tables: Tables) -> list[Broken]:
    """What is wrong before anybody has moved: a thread whose very first step breaks a rule."""
    return [
        Broken(Witness(tables.initial()), automaton.nodes[0].bug)
        for automaton in tables.automata
        if automaton.nodes[0].bug is not None
    ]


def allowed(
    tables: Tables, found: Explored, places: Places, thread: int, special: Special, here: Witness
) -> list[tuple[int, int]]:
    """The alternatives that break no property; the others are noted and not followed."""
    place, _ = tables.rows[thread][places[thread]]
    moves = []
    for alternative, move in enumerate(special.alternatives):
        fault = special.bugs[alternative]
        if fault is None and special.watched:
            after = places[:]
            after[place], after[thread] = move
            fault = tables.verdict(special, thread, places[thread], places, after)
        if fault is None:
            moves.append(move)
        else:
            found.broken.append(Broken(Witness(here.stored, (*here.tail, (thread, alternative))), fault))
    return moves


def rest(tables: Tables, found: Explored, places: Places, resting: Resting | None, here: Witness) -> None:
    """Judge a state in which nothing can move: a deadlock, or an end at which the books must balance."""
    stuck = [
        t
        for t, thread in enumerate(tables.machine.threads)
        if not thread.silent and not tables.node(t, places[t]).ended and tables.node(t, places[t]).bug is None
    ]
    if stuck:
        waits = []
        for t in stuck:
            step = tables.node(t, places[t]).step
            waits.append(f"{tables.machine.threads[t].name} waits in {step.word} {step.cell}" if step else "")
        found.broken.append(Broken(here, ("no deadlock", "; ".join(waits))))
    elif resting is not None:
        fault = resting(tables, places)
        if fault is not None:
            found.broken.append(Broken(here, fault))
