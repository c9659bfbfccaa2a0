"""The searches, from a test to its verdict."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from mmsim.check.bounds import Bounds, Clock, Progress, stopper
from mmsim.check.judge import Test, broken_property
from mmsim.check.observe import observe
from mmsim.check.properties import AlwaysOn
from mmsim.engine.lockdep import lock_fault
from mmsim.engine.progress import NO_LIVELOCK
from mmsim.engine.reduced import explore_reduced, path_to, rehearse
from mmsim.engine.run import Run, outcome
from mmsim.engine.search import Broken, Explored, Stop, explore
from mmsim.engine.shortest import BrokenOutcome, shortest
from mmsim.engine.symmetry import Symmetry
from mmsim.engine.tables import Fault, Path, Tables
from mmsim.engine.walks import walk, walker_named
from mmsim.machine import boot
from mmsim.verdict import Coverage, Holds, Move, Outcome, Schedule, Undecided, Verdict, Violated, Violation

SHORTEST_STATES = 60_000
"""How many states the search for the shortest schedule may store before the one at hand must do."""

FEW_STATES = 30_000
MANY = "too many states for the unreduced search"


def _few(stop: Stop) -> Stop:
    def enough(explored: Explored) -> str | None:
        return MANY if explored.states > FEW_STATES else stop(explored)

    return enough


Report = Callable[[Progress], None]


def tables_of(test: Test, *, merge: bool = True) -> tuple[Tables, AlwaysOn]:
    """A freshly booted machine, ready to be explored."""
    machine = boot(test.scenario, test.strategy, test.release)
    properties = AlwaysOn(machine.world, test.strategy)
    return Tables(machine, judge=properties.judge, watched=properties.watched, merge=merge), properties


def check(
    test: Test,
    *,
    bounds: Bounds = Bounds(),
    reduce: bool | None = None,
    merge: bool = True,
    first: bool = False,
    clock: Clock = time.monotonic,
    progress: Report | None = None,
) -> Verdict:
    """Explore every interleaving.

    `reduce=False` is the reference search; by default it is tried first, since nothing beats it where there are few
    states, and the reduced search (`reduce=True`) takes over where there are many.  `merge=False` audits local states.
    With `first`, look for the shortest counterexample before anything else, and stop at it; a livelock shows in no
    single state, so it is found by the whole search that follows if there is no such counterexample.
    """
    tables, properties = tables_of(test, merge=merge)
    stop = stopper(bounds, clock, progress)
    try:
        rehearse(tables)
    except KeyboardInterrupt:
        return Undecided("interrupted", (), Coverage(0, 0, "bounded (interrupted)"))
    if first:
        verdict = _first(test, tables, properties, lambda: stop(Explored()) is not None)
        if verdict is not None:
            return verdict
    reduced = bool(reduce)
    found = Explored(stopped=MANY)
    if not reduced:
        found = explore(tables, resting=properties.resting, stop=stop if reduce is False else _few(stop))
    if found.stopped == MANY:
        reduced = True
        found = explore_reduced(tables, resting=properties.resting, stop=stop)
    outcomes = _outcomes(tables, found, reduced=reduced)
    observed = observe(test.scenario, tables, found, outcomes)
    violation = _violation(test, tables, properties, found, reduced=reduced)
    how = "exhaustive" if found.stopped is None else f"bounded ({found.stopped})"
    coverage = Coverage(found.states, found.transitions, how, found.waiting, found.depth)
    if violation is not None:
        return Violated(violation, outcomes, coverage, observed)
    if found.stopped is not None:
        return Undecided(found.stopped, outcomes, coverage, observed)
    return Holds(outcomes, coverage, observed)


FIRST_STATES = 1_000_000
"""How many states the search for the first counterexample may store before the whole space is searched instead."""


def _first(test: Test, tables: Tables, properties: AlwaysOn, out_of_time: Callable[[], bool]) -> Verdict | None:
    judged = _judge_of(test, tables)
    try:
        found = shortest(tables, properties.resting, judged, most_states=FIRST_STATES, out_of_time=out_of_time)
    except KeyboardInterrupt:
        return Undecided("interrupted", (), Coverage(0, 0, "bounded (interrupted)"))
    if found is None:
        return None
    violation = Violation(*found.fault, _schedule(tables, found.path), shortest=True)
    coverage = Coverage(found.states, 0, "bounded (the first counterexample)", depth=len(found.path))
    return Violated(violation, (), coverage)


def _judge_of(test: Test, tables: Tables) -> BrokenOutcome:
    """Judges what the threads returned, by their nodes."""

    def broken_outcome(nodes: tuple[int, ...]) -> Fault | None:
        return broken_property(test.scenario, outcome(tables, nodes))

    return broken_outcome


def _outcomes(tables: Tables, found: Explored, *, reduced: bool) -> tuple[Outcome, ...]:
    symmetry = Symmetry(tables)
    seen: set[Outcome] = set()
    for nodes in found.quiescent:
        told = outcome(tables, nodes)
        seen |= symmetry.all_renamed(told) if reduced else {told}
    return tuple(sorted(seen, key=repr))


def _violation(test: Test, tables: Tables, properties: AlwaysOn, found: Explored, *, reduced: bool) -> Violation | None:
    broken_outcome = _judge_of(test, tables)
    candidates = list(found.broken)
    for nodes, witness in found.quiescent.items():
        fault = broken_outcome(nodes)
        if fault is not None:
            candidates.append(Broken(witness, fault))
    inverted = lock_fault(tables.automata)
    if not candidates and inverted is None:
        return None
    # before anything below lays the tables out anew: the stored states are of this layout
    ways = [path_to(tables, found, broken.witness, reduced=reduced) for broken in candidates[:1]]
    if inverted is None and [broken.fault[0] for broken in candidates] == [NO_LIVELOCK]:
        run = Run(tables)
        for thread, alternative in ways[0]:
            run.step(thread, alternative)
        caught = _caught(run, shortest=not reduced)
        return caught or Violation(*candidates[0].fault, _schedule(tables, ways[0]), shortest=False)
    if inverted is not None:
        for after in tables.node(inverted.thread, inverted.node).next.values():
            tables.node(inverted.thread, after).bug = (inverted.property, inverted.detail)
        tables.lay_out()
    best = shortest(tables, properties.resting, broken_outcome, most_states=SHORTEST_STATES)
    if best is not None:
        return Violation(*best.fault, _schedule(tables, best.path), shortest=True)
    if ways:
        return Violation(*candidates[0].fault, _schedule(tables, ways[0]), shortest=False)
    assert inverted is not None
    return Violation(inverted.property, inverted.detail, Schedule(()), shortest=False)


def _caught(run: Run, *, shortest: bool) -> Violation | None:
    """The livelock that a run has come to, if it has, with a schedule that ends where it first cannot get out."""
    spinning = run.livelock()
    if spinning is None:
        return None
    numbers = {thread.name: number for number, thread in enumerate(run.tables.machine.threads)}
    moves = list(run.moves)
    run.restart()
    way: dict[bytes, Move] = {}  # the states passed, each with the move that was made there last: so it has no rounds
    for move in moves:
        here = bytes(run.places)
        if here in spinning.region:
            break
        while here in way:
            way.popitem()
        way[here] = move
        run.step(numbers[move.thread], move.alternative)
    told = run.livelock()
    return Violation(*(told or spinning).fault, Schedule(tuple(way.values())), shortest=shortest)


def _schedule(tables: Tables, path: Path) -> Schedule:
    return Schedule(tuple(Move(tables.machine.threads[thread].name, alternative) for thread, alternative in path))


def sample(
    test: Test,
    *,
    walker: str,
    runs: int,
    seed: int,
    bounds: Bounds = Bounds(),
    clock: Clock = time.monotonic,
    progress: Report | None = None,
) -> Verdict:
    """Take `runs` random walks; Violated at the first that breaks a property, else Undecided (sampled).

    A walk that does not come to rest is ended after many steps, and then asked whether it ever could have.
    """
    tables, properties = tables_of(test)
    run = Run(tables, properties.resting)
    stop = stopper(bounds, clock, progress)
    seen = Explored()
    outcomes: set[Outcome] = set()
    longest = 1
    for number in range(runs):
        rng = random.Random(f"{seed}/{number}")
        run.restart()
        try:
            walk(run, walker_named(walker, longest), rng)
        except KeyboardInterrupt:
            seen.stopped = "interrupted"
        longest = max(longest, len(run.moves))
        seen.transitions += len(run.moves)
        violation = None
        fault = run.fault
        if fault is None and run.quiescent():
            outcomes.add(run.outcome())
            fault = broken_property(test.scenario, run.outcome())
        elif fault is None and seen.stopped is None:
            violation = _caught(run, shortest=False)
        how = f"sampled ({number + 1} {walker} walks)"
        coverage = Coverage(0, seen.transitions, how, depth=longest)
        if fault is not None:
            violation = Violation(*fault, Schedule(tuple(run.moves)), shortest=False)
        if violation is not None:
            return Violated(violation, tuple(sorted(outcomes, key=repr)), coverage)
        seen.stopped = seen.stopped or stop(seen)
        if seen.stopped is not None:
            return Undecided(seen.stopped, tuple(sorted(outcomes, key=repr)), coverage)
    how = f"sampled ({runs} {walker} walks)"
    return Undecided(how, tuple(sorted(outcomes, key=repr)), Coverage(0, seen.transitions, how, depth=longest))
