"""The shortest counterexample, against every schedule there is."""

import pytest

from mmsim.cells import Cell
from mmsim.engine.progress import NO_LIVELOCK
from mmsim.engine.run import Run, outcome
from mmsim.engine.search import explore
from mmsim.engine.shortest import shortest
from mmsim.steps import KernelBug, choose, cond_resched
from mmsim.verdict import Move, Schedule
from tests.engine.programs import Program, at_least, broken_names, modest, seeded, tables_of, thread, toy

MOST_SCHEDULES = 40_000


def no_outcome(_nodes):
    return None


def every_schedule(program, length):
    """Every schedule of at most `length` steps that ends where a property breaks: (thread, alternative) for each step."""
    tables, resting = tables_of(program)
    run = Run(tables, resting)
    broken, tried = [], 0
    stack = [()]
    while stack:
        path = stack.pop()
        tried += 1
        if tried > MOST_SCHEDULES:
            return None
        run.restart()
        for mover, alternative in path:
            run.step(mover, alternative)
        if run.fault is not None or run.end() is not None:
            broken.append(path)
        elif len(path) < length:
            stack += [
                (*path, (thread, alternative))
                for thread in run.able()
                for alternative in range(run.alternatives(thread))
            ]
    return broken


def switches(path):
    return Schedule(tuple(Move(str(thread)) for thread, _ in path)).switches


def broken_programs(name, count):
    for number in range(count):
        program = seeded(f"{name}/{number}", steps=2)
        tables, resting = tables_of(program)
        found = explore(tables, resting=resting, stop=modest)
        if found.stopped is None and broken_names(found) - {NO_LIVELOCK}:
            yield program


def found_for(program):
    tables, resting = tables_of(program)
    found = shortest(tables, resting, no_outcome, most_states=10_000)
    assert found is not None
    return tables, resting, found[:2]


@pytest.mark.parametrize("batch", range(3))
def test_nothing_shorter_breaks_a_property(batch):
    for program in broken_programs(f"shortest/{batch}", 60):
        _, _, (path, _) = found_for(program)
        if len(path) <= 7:
            schedules = every_schedule(program, len(path))
            if schedules is not None:
                assert path in schedules, program
                assert min(map(len, schedules)) == len(path), program


def test_as_deep_as_the_breadth_first_search_says():
    for program in broken_programs("deep", 60):
        tables, resting, (path, _) = found_for(program)
        if path:
            assert not explore(tables, resting=resting, depth=len(path) - 1).broken
        assert explore(tables, resting=resting, depth=len(path) + 1).broken


@pytest.mark.parametrize("batch", range(3))
def test_fewest_switches_among_the_shortest(batch):
    for program in broken_programs(f"switches/{batch}", 60):
        _, _, (path, _) = found_for(program)
        if len(path) <= 7:
            schedules = every_schedule(program, len(path))
            if schedules is not None:
                assert switches(path) == min(switches(one) for one in schedules if len(one) == len(path)), program


def test_it_replays_to_the_property_it_names():
    for program in broken_programs("replay", 80):
        tables, resting, (path, fault) = found_for(program)
        run = Run(tables, resting)
        for mover, alternative in path:
            assert run.fault is None
            run.step(mover, alternative)
        assert (run.fault or run.end()) == fault


def test_a_broken_outcome_counts_where_only_devices_could_move():
    program = Program(((("load", 0), ("load", 0)), (("store", 0, 1),)), (0,), silent=(1,))
    tables, resting = tables_of(program)

    def differing(nodes):
        seen = dict(outcome(tables, nodes))["a"]
        return ("both loads agree", f"{seen}") if seen[0] != seen[1] else None

    path, fault, _ = shortest(tables, resting, differing, most_states=100)
    assert path == ((0, 0), (1, 0), (0, 0))
    assert fault == ("both loads agree", "(0, 1)")


def test_too_many_states():
    program = Program(((("exchange", 0, 1), ("exchange", 0, 2)), (("exchange", 0, 2), ("exchange", 0, 1))), (0,))
    tables, _ = tables_of(program)
    assert shortest(tables, None, no_outcome, most_states=3) is None
    assert shortest(tables, None, no_outcome, most_states=1000) is None


async def chooser(cell):
    if await choose(2):
        await cond_resched()
        await cond_resched()
    else:
        await cell.store(1)


async def unlucky(cell):
    await cell.wait_until(at_least, 1)
    message = "woken"
    raise KernelBug(message)


def test_fewest_switches_also_between_a_move_and_a_state():
    """Three steps either way: chooser alone, then a deadlock; or chooser twice, and unlucky's bug after a switch."""
    cell = Cell("c", 0)
    tables = toy(thread(chooser, cell), thread(unlucky, cell))
    path, fault, _ = shortest(tables, None, no_outcome, most_states=100)
    assert len(path) == 3
    assert (switches(path), fault[0]) == (0, "no deadlock")
