"""The reduced search: persistent sets from learnt futures, with runs of forced moves followed at once.

A set P of threads is persistent in a state if nothing that the others may do, before P moves, conflicts with the next
steps of P (Godefroid, Partial-Order Methods, 1996, chapter 4).  Then exploring only P's moves loses no verdict: every
execution is equivalent, up to swapping independent neighbours, to one that starts with a move of P.  A step that a
property watches counts as reading every place the property looked at, so what properties can see is never reordered.

A device may stop for ever, and what the others do then is an outcome too.  So for each set of devices that stand still
the exploration must be persistent in the machine without them: a persistent set must have a mover that is no device,
or be a single device whose next step conflicts with nothing that anybody may ever do, asleep or behind a lock.

Where a single thread with a single move is persistent, the move is made at once and the state in between is not even
stored; on a state reached that way everything is explored again as usual, so no thread is ignored for ever: a stored
state is expanded in full unless some move of its persistent set leads to a state not yet seen (the proviso of
Bosnacki and Holzmann, SPIN 2005, for breadth-first search), and a run of forced moves that comes back to itself ends.

The futures are those of the automata *as learnt so far*.  A pass that taught anything is repeated; only a pass that
taught nothing counts, or one that would be led the same way by what it taught.
"""

from __future__ import annotations

import random
from itertools import pairwise

from mmsim.engine.futures import Footprint, Futures, barrier
from mmsim.engine.run import Run
from mmsim.engine.search import (
    STATES_BETWEEN_CHECKS,
    Broken,
    Explored,
    Path,
    Resting,
    Stop,
    Witness,
    allowed,
    bugs_at_start,
    never,
    rest,
)
from mmsim.engine.symmetry import Symmetry
from mmsim.engine.tables import Outgrown, Places, Special, State, Tables
from mmsim.engine.walks import pct, pos, uniform, walk

Threads = tuple[int, ...]


class Persistent:
    """Persistent sets, remembered by the nodes of all threads and which of them can move."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.futures = Futures(tables)
        self._known: dict[tuple[bytes, int], Threads] = {}
        self._clash: dict[tuple[int, int, int, int], bool] = {}
        self.silent = frozenset(t for t, thread in enumerate(tables.machine.threads) if thread.silent)

    def of(self, places: Places, able: int) -> Threads:
        """The smallest persistent set found, as the threads in it that can move (`able`: a mask of all that can)."""
        nodes = places[: self.tables.threads]
        key = (bytes(nodes), able)
        known = self._known.get(key)
        if known is None:
            movers = tuple(thread for thread in range(self.tables.threads) if able >> thread & 1)
            known = self._known[key] = self._find(nodes, movers)
        return known

    def confirmed(self) -> bool:
        """Whether every answer given so far would be the same with what is known by now.

        Then the pass that was led by them would go the very same way again, and need not.
        """
        again = Persistent(self.tables)
        return all(again.of(self.tables.unpack(nodes), able) == was for (nodes, able), was in self._known.items())

    def _find(self, nodes: Places, able: Threads) -> Threads:
        """First a single thread that nobody awake can conflict with; failing that, the smallest closed set."""
        for first in able:
            against = [other for other in range(self.tables.threads) if self._clashes(first, other, nodes)]
            if not against:
                return (first,)
            if first not in self.silent and not any(other in able for other in against):
                awake = self._awake(self._outside({first}, nodes), nodes, able)
                if not any(other in awake for other in against):
                    return (first,)
        best = able
        for first in able:
            if first in self.silent:
                continue
            moving = tuple(thread for thread in self._close(first, nodes) if thread in able)
            if len(moving) < len(best):
                best = moving
        return best

    def _clashes(self, one: int, other: int, nodes: Places) -> bool:
        """Whether the next step of `one` conflicts with what `other` may do while `one` stands still."""
        key = (one, nodes[one], other, nodes[other])
        known = self._clash.get(key)
        if known is None:
            behind = barrier(() if one in self.silent else self.tables.node(one, nodes[one]).held)
            future = self.futures.of(other, nodes[other], behind)
            known = one != other and bool(self.futures.pending(one, nodes[one]).clashes(future))
            self._clash[key] = known
        return known

    def _outside(self, chosen: set[int], nodes: Places) -> dict[int, Footprint]:
        """What everybody else may do without getting past the locks that `chosen` hold."""
        behind = frozenset(held for thread in chosen for held in barrier(self.tables.node(thread, nodes[thread]).held))
        return {
            thread: self.futures.of(thread, nodes[thread], behind)
            for thread in range(self.tables.threads)
            if thread not in chosen
        }

    def _close(self, first: int, nodes: Places) -> set[int]:
        """The smallest set with `first` in it that nobody outside can conflict with, asleep or not."""
        chosen = {first}
        grown = [first]
        for one in grown:
            for other in range(self.tables.threads):
                if other not in chosen and self._clashes(one, other, nodes):
                    chosen.add(other)
                    grown.append(other)
        return chosen

    def _awake(self, outside: dict[int, Footprint], nodes: Places, able: Threads) -> list[int]:
        """Those outside that can move before the chosen do: able now, or woken by another one outside."""
        awake = [thread for thread in outside if thread in able]
        asleep = [thread for thread in outside if thread not in able]
        changes = 0
        for thread in awake:
            changes |= outside[thread].adds | outside[thread].writes
        woken = True
        while woken:
            woken = False
            for thread in asleep:
                waits = self.futures.pending(thread, nodes[thread])
                if thread not in awake and (waits.reads | waits.writes) & changes:
                    awake.append(thread)
                    changes |= outside[thread].adds | outside[thread].writes
                    woken = True
        return awake


def explore_reduced(tables: Tables, *, resting: Resting | None = None, stop: Stop = never) -> Explored:
    """All verdicts and outcomes, from representatives only."""
    passes = 0
    rehearse(tables)
    while True:
        found = Explored()
        found.passes = passes = passes + 1
        news = tables.news
        search = None
        try:
            search = _Reduced(tables, found, resting, stop)
            search.explore()
            search.symmetry.mirror()
        except Outgrown:
            tables.lay_out()
            continue
        except KeyboardInterrupt:
            found.stopped = "interrupted"
        if found.stopped is not None or tables.news == news:
            return found
        if search is not None and search.persistent.confirmed():
            return found


QUIET_WALKS = 24
"""So many random walks in a row must teach nothing before the first pass begins."""
WALKS = 400


def rehearse(tables: Tables) -> None:
    """Learn most of the automata along random walks, so that few passes of the search are spent on learning."""
    if tables.rehearsed:
        return
    rng = random.Random(0)
    run = Run(tables)
    quiet = 0
    walkers = (uniform, pos, pct(3))
    for number in range(WALKS):
        news = tables.news
        run.restart()
        walk(run, walkers[number % len(walkers)], rng, most=2000)
        quiet = quiet + 1 if tables.news == news else 0
        if quiet == QUIET_WALKS:
            break
    tables.rehearsed = True
    tables.lay_out()


class _Reduced:
    def __init__(self, tables: Tables, found: Explored, resting: Resting | None, stop: Stop) -> None:
        self.tables = tables
        self.found = found
        self.resting = resting
        self.stop = stop
        self.persistent = Persistent(tables)
        self.symmetry = Symmetry(tables)
        self.loud = sum(1 << t for t, thread in enumerate(tables.machine.threads) if not thread.silent)

    def explore(self) -> None:
        found, tables = self.found, self.tables
        start = self.run_on(tables.unpack(tables.initial()), None, [])
        frontier = [start]
        found.seen[start] = None
        found.broken += [Broken(Witness(None), broken.fault) for broken in bugs_at_start(tables)]
        check = STATES_BETWEEN_CHECKS - 1
        while frontier:
            following: list[State] = []
            for state in frontier:
                check += 1
                if check >= STATES_BETWEEN_CHECKS:
                    check = 0
                    found.waiting = len(frontier) + len(following)
                    found.stopped = self.stop(found)
                if found.stopped is not None:
                    return
                self.expand(state, following)
            frontier = following
            found.depth += 1
        found.waiting = 0

    def expand(self, state: State, following: list[State]) -> None:
        """Follow the persistent set; where that leads to nothing new, follow everybody."""
        places = self.tables.unpack(state)
        able = 0
        for thread, rows in enumerate(self.tables.rows):
            place, row = rows[places[thread]]
            if row[places[place]] is not None:
                able |= 1 << thread
        chosen = self.persistent.of(places, able)
        fresh = self.move(state, places, chosen, following)
        if not fresh:
            others = tuple(t for t in range(self.tables.threads) if able >> t & 1 and t not in chosen)
            self.move(state, places, others, following)

    def move(self, state: State, places: Places, threads: Threads, following: list[State]) -> bool:
        """Make every move of these threads; whether one of them led to a state not seen before."""
        found = self.found
        fresh = False
        for thread in threads:
            place, row = self.tables.rows[thread][places[thread]]
            move = row[places[place]]
            if move.__class__ is Special:
                good = allowed(self.tables, found, places, thread, move, Witness(state))
                moves = [(one, number) for number, one in enumerate(move.alternatives) if one in good]
                found.transitions += len(move.alternatives)
            else:
                moves = [(move, 0)]
                found.transitions += 1
            for (new, after), alternative in moves:
                reached = places[:]
                reached[place] = new
                reached[thread] = after
                stored = self.run_on(reached, state, [(thread, alternative)])
                if stored not in found.seen:
                    found.seen[stored] = state
                    following.append(stored)
                    fresh = True
        return fresh

    def run_on(self, places: Places, origin: State | None, tail: list[tuple[int, int]]) -> State:
        """Make forced moves in place as long as there are any, noting them in `tail`; the representative to store."""
        tables, found = self.tables, self.found
        rows = tables.rows
        persistent = self.persistent
        passed: set[bytes] = set()
        pending = [row[places[thread]] for thread, row in enumerate(rows)]
        able = 0
        for thread, (place, row) in enumerate(pending):
            if row[places[place]] is not None:
                able |= 1 << thread
        count = tables.threads
        while True:
            if not able & self.loud:
                nodes = tuple(places[:count])
                if nodes not in found.quiescent:
                    found.quiescent[nodes] = Witness(origin, tuple(tail))
            if not able:
                rest(tables, found, places, self.resting, Witness(origin, tuple(tail)))
                break
            here = bytes(places)
            chosen = persistent.of(places, able)
            if len(chosen) > 1 or here in passed:
                break
            passed.add(here)
            thread = chosen[0]
            changed, row = pending[thread]
            move = row[places[changed]]
            if move.__class__ is Special:
                if len(move.alternatives) > 1:
                    break
                moves = allowed(tables, found, places, thread, move, Witness(origin, tuple(tail)))
                if not moves:
                    break  # what the others do while this step is not made remains to be seen
                move = moves[0]
            found.transitions += 1
            tail.append((thread, 0))
            places[changed], places[thread] = move
            pending[thread] = rows[thread][places[thread]]
            for other, (place, row) in enumerate(pending):
                if place == changed or other == thread:
                    if row[places[place]] is None:
                        able &= ~(1 << other)
                    else:
                        able |= 1 << other
        return self.symmetry.canonical(places)


def path_to(tables: Tables, found: Explored, witness: Witness, *, reduced: bool) -> Path:
    """The whole way from the start to a witness.

    Only stored states are known.  A reduced search stored representatives and no forced moves; so between each state
    and the next, look for the move that leads to it, and keep account of which thread each renaming made of which.
    """
    again = _Reduced(tables, Explored(), None, never) if reduced else None
    stored: list[State] = []
    state = witness.stored
    while state is not None:
        stored.append(state)
        state = found.seen[state]
    stored.reverse()
    names = list(range(tables.threads))  # who each thread of the representative is in the execution told
    path: list[tuple[int, int]] = []
    if again is not None and stored:
        tail: list[tuple[int, int]] = []
        places = tables.unpack(tables.initial())
        again.run_on(places, None, tail)
        path += tail
        names = _after_renaming(again.symmetry, places, names)
    for state, wanted in pairwise(stored):
        moves, names_after = _hop(tables, again, state, wanted, names)
        path += [(names[thread], alternative) for thread, alternative in moves]
        names = names_after
    return (*path, *((names[thread], alternative) for thread, alternative in witness.tail))


def _after_renaming(symmetry: Symmetry, places: Places, names: list[int]) -> list[int]:
    """Who is who in the representative of `places`, given who is who in it."""
    twins = symmetry.representative(places)[1]
    after = list(names)
    for thread, twin in enumerate(twins):
        after[twin] = names[thread]
    return after


def _hop(
    tables: Tables, again: _Reduced | None, state: State, wanted: State, names: list[int]
) -> tuple[list[tuple[int, int]], list[int]]:
    places = tables.unpack(state)
    for thread in range(tables.threads):
        for alternative, (place, new, after, _) in enumerate(tables.following(thread, places)):
            reached = places[:]
            reached[place] = new
            reached[thread] = after
            tail = [(thread, alternative)]
            if again is None:
                if bytes(reached) == wanted:
                    return tail, names
            elif again.run_on(reached, None, tail) == wanted:
                return tail, _after_renaming(again.symmetry, reached, names)
    msg = "a stored state cannot be reached again from the one before it"
    raise AssertionError(msg)
