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

The futures are those of the automata *as learnt so far*.  Now and then, and at the end, every decision made so
far is held against it, and where one would differ the search goes back to the depth at which that one was made.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise

import attrs

from mmsim.engine.futures import Barrier, Footprint, Futures, barrier
from mmsim.engine.run import Run
from mmsim.engine.search import (
    STATES_BETWEEN_CHECKS,
    Broken,
    Explored,
    Resting,
    Stop,
    Witness,
    allowed,
    bugs_at_start,
    conclude,
    never,
    rest,
)
from mmsim.engine.symmetry import Symmetry
from mmsim.engine.tables import Outgrown, Path, Places, Special, State, Tables
from mmsim.engine.walks import pct, pos, uniform, walk

Threads = tuple[int, ...]
Decision = tuple[bytes, int]
"""The nodes of all threads, and the mask of those that can move."""


class _Clashes(dict[int, bool]):
    """Whether the next step of one thread, at one node, conflicts with what another may do, by the other's node."""

    __slots__ = ("futures", "holds", "other", "step")

    def __init__(self, futures: Futures, other: int, step: Footprint, holds: Barrier) -> None:
        super().__init__()
        self.futures = futures
        self.other = other
        self.step = step
        self.holds = holds

    def __missing__(self, node: int) -> bool:
        clash = self[node] = bool(self.step.clashes(self.futures.of(self.other, node, self.holds)))
        return clash


class Persistent:
    """Persistent sets, remembered by the nodes of all threads and which of them can move.

    Sets of threads are bit masks while a set is looked for; look-ups per pair of threads are all that is left to do.
    """

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.futures = Futures(tables)
        self._known: dict[Decision, Threads] = {}
        self._asked: set[int] = set()  # the decisions, by number, for which it mattered who is awake
        self._against: list[dict[int, tuple[tuple[int, int, _Clashes], ...]]] = [{} for _ in range(tables.threads)]
        self._threads = range(tables.threads)
        self.silent = frozenset(t for t, thread in enumerate(tables.machine.threads) if thread.silent)

    def of(self, places: Places, able: int) -> Threads:
        """The smallest persistent set found, as the threads in it that can move (`able`: a mask of all that can)."""
        nodes = places[: self.tables.threads]
        key = (bytes(nodes), able)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._find(nodes, able, len(self._known))
        return known

    @property
    def decided(self) -> int:
        """How many decisions were made; they are kept in the order in which they were made."""
        return len(self._known)

    def better_informed(self) -> tuple[Persistent, int | None]:
        """The same with what is known by now, and which decision is the first that would have been another, or None.

        All before that one are kept: a search that was led by them would have gone the very same way.  A decision rests
        on who clashes with whom at these nodes, and in some cases on who is awake; only where that has changed is it
        made again.
        """
        again = Persistent(self.tables)
        decisions = list(self._known)
        again._asked = set(self._asked)
        for number in sorted(self._asked.union(self._resting_on(self._flipped(again), decisions))):
            nodes, able = decisions[number]
            if again._find(self.tables.unpack(nodes), able, number) != self._known[decisions[number]]:
                again._known = {key: self._known[key] for key in decisions[:number]}
                again._asked = {asked for asked in again._asked if asked < number}
                return again, number
        again._known = self._known
        return again, None

    def _resting_on(self, flipped: list[tuple[int, int, int, int]], decisions: list[Decision]) -> Iterator[int]:
        """The numbers of the decisions at whose nodes one of these pairs stands."""
        whole = self.tables.typecode == "B"  # then the bytes are the nodes
        for one, node, other, there in flipped:
            for number, (nodes, _) in enumerate(decisions):
                places = nodes if whole else self.tables.unpack(nodes)
                if places[one] == node and places[other] == there:
                    yield number

    def _flipped(self, again: Persistent) -> list[tuple[int, int, int, int]]:
        """(thread, node, other thread, its node) of every pair that clashes by now and did not, or no longer does."""
        return [
            (one, node, other, there)
            for one in self._threads
            for node, row in self._against[one].items()
            for (other, _, before), (_, _, now) in zip(row, again._row_of(one, node), strict=True)
            for there, clash in before.items()
            if now[there] is not clash
        ]

    def _find(self, nodes: Places, able: int, number: int) -> Threads:
        """First a single thread that nobody awake can conflict with; failing that, the smallest closed set."""
        rows: dict[int, int] = {}
        movers = [thread for thread in self._threads if able >> thread & 1]
        for first in movers:
            against = rows[first] = self._row(first, nodes)
            if not against:
                return (first,)
            if first not in self.silent and not against & able:
                self._asked.add(number)
                awake = self._awake(self._outside(first, nodes), nodes, able)
                if not any(against >> other & 1 for other in awake):
                    return (first,)
        best = tuple(movers)
        for first in movers:
            if first in self.silent:
                continue
            closed = self._close(first, nodes, rows)
            moving = tuple(thread for thread in movers if closed >> thread & 1)
            if len(moving) < len(best):
                best = moving
        return best

    def _row(self, one: int, nodes: Places) -> int:
        """The mask of those who may do something that conflicts with the next step of `one` while it stands still."""
        row = 0
        for other, bit, clashes in self._against[one].get(nodes[one]) or self._row_of(one, nodes[one]):
            if clashes[nodes[other]]:
                row |= bit
        return row

    def _row_of(self, one: int, node: int) -> tuple[tuple[int, int, _Clashes], ...]:
        """(other, its bit, clashes by its node) for everybody else."""
        behind = barrier(() if one in self.silent else self.tables.node(one, node).held)
        step = self.futures.pending(one, node)
        row = self._against[one][node] = tuple(
            (other, 1 << other, _Clashes(self.futures, other, step, behind)) for other in self._threads if other != one
        )
        return row

    def _outside(self, first: int, nodes: Places) -> dict[int, Footprint]:
        """What everybody else may do without getting past the locks that `first` holds."""
        behind = barrier(self.tables.node(first, nodes[first]).held)
        return {thread: self.futures.of(thread, nodes[thread], behind) for thread in self._threads if thread != first}

    def _close(self, first: int, nodes: Places, rows: dict[int, int]) -> int:
        """The smallest set with `first` in it that nobody outside can conflict with, asleep or not; a mask."""
        chosen = waiting = 1 << first
        while waiting:
            one = waiting.bit_length() - 1
            row = rows.get(one)
            if row is None:
                row = rows[one] = self._row(one, nodes)
            waiting = (waiting ^ 1 << one) | (row & ~chosen)
            chosen |= row
        return chosen

    def _awake(self, outside: dict[int, Footprint], nodes: Places, able: int) -> list[int]:
        """Those outside that can move before the chosen do: able now, or woken by another one outside."""
        awake = [thread for thread in outside if able >> thread & 1]
        asleep = [thread for thread in outside if not able >> thread & 1]
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
        try:
            _Reduced(tables, found, resting, stop).explore()
            conclude(tables, found, stop)
        except Outgrown:
            tables.lay_out()
            continue
        except Misled:
            continue
        except KeyboardInterrupt:
            found.stopped = "interrupted"
        return found


class Misled(Exception):
    """Something was learnt that would have led the pass another way; begin again."""


MORE_DECISIONS = 1.3
"""The decisions must have grown by this factor before they are looked at again: looking costs, as does going back."""

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


@attrs.frozen
class Layer:
    """One depth of the search before it was expanded: what had been found by then, as counts."""

    frontier: list[State]
    seen: int
    quiescent: int
    broken: int
    transitions: int
    decided: int


class _Reduced:
    def __init__(self, tables: Tables, found: Explored, resting: Resting | None, stop: Stop) -> None:
        self.tables = tables
        self.found = found
        self.resting = resting
        self.stop = stop
        self.persistent = Persistent(tables)
        self.symmetry = Symmetry(tables)
        self.news = tables.news
        self.begun: list[Layer] = []
        self.thought = 0  # how many decisions had been made when they were last held against what is known
        self.loud = sum(1 << t for t, thread in enumerate(tables.machine.threads) if not thread.silent)

    def explore(self) -> None:
        found, tables = self.found, self.tables
        start = self.run_on(tables.unpack(tables.initial()), None, [])
        found.seen[start] = None
        found.broken += [Broken(Witness(None), broken.fault) for broken in bugs_at_start(tables)]
        frontier = [start]
        check = STATES_BETWEEN_CHECKS - 1
        while frontier:
            self.begun.append(self.layer(frontier))
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
            found.depth += 1
            due = not following or self.persistent.decided > self.thought * MORE_DECISIONS
            frontier = self.think_again(following) if due and self.tables.news != self.news else following
        found.waiting = 0

    def layer(self, frontier: list[State]) -> Layer:
        """Where the search is, to come back to it."""
        found = self.found
        return Layer(
            frontier,
            len(found.seen),
            len(found.quiescent),
            len(found.broken),
            found.transitions,
            self.persistent.decided,
        )

    def think_again(self, following: list[State]) -> list[State]:
        """Hold every decision against what was learnt meanwhile; the frontier to go on from, which may be an older one.

        Raises Misled if the very first run of forced moves would be another.
        """
        self.symmetry.mirror()
        self.news = self.tables.news
        self.persistent, wrong = self.persistent.better_informed()
        self.thought = self.persistent.decided
        if wrong is None:
            return following
        while self.begun and self.begun[-1].decided > wrong:
            self.begun.pop()
        if not self.begun:
            raise Misled
        back = self.begun.pop()
        found = self.found
        found.depth = len(self.begun)
        found.transitions = back.transitions
        for kept, count in ((found.seen, back.seen), (found.quiescent, back.quiescent)):
            while len(kept) > count:
                kept.popitem()
        del found.broken[back.broken :]
        return back.frontier

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
