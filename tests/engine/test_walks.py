"""Random walks: a seed tells the whole walk, and no walk goes where the exhaustive search has not been."""

import random

import pytest

from mmsim.cells import Cell
from mmsim.engine.run import Run
from mmsim.engine.search import explore
from mmsim.engine.walks import WALKERS, walk, walker_named
from mmsim.steps import KernelBug
from tests.engine.programs import Program, modest, seeded, tables_of, thread, toy

RACY = Program(((("exchange", 0, 1), ("load", 1)), (("exchange", 1, 2), ("load", 0)), (("choose", 2), ("inc", 0))))


def moves(walker, seed):
    tables, resting = tables_of(RACY)
    run = Run(tables, resting)
    walk(run, walker_named(walker), random.Random(seed))
    return tuple(run.moves)


@pytest.mark.parametrize("walker", WALKERS)
def test_a_seed_tells_the_whole_walk(walker):
    walks = [moves(walker, seed) for seed in range(30)]
    assert walks == [moves(walker, seed) for seed in range(30)]
    assert len(set(walks)) > 1


@pytest.mark.parametrize("walker", WALKERS)
def test_walks_end_where_the_search_has_been(walker):
    for number in range(40):
        tables, resting = tables_of(seeded(f"walks/{number}", steps=3))
        found = explore(tables, resting=resting, stop=modest)
        if found.stopped is not None:
            continue
        names = {broken.fault[0] for broken in found.broken}
        run = Run(tables, resting)
        for seed in range(5):
            run.restart()
            walk(run, walker_named(walker), random.Random(f"{number}/{seed}"), most=60)
            if run.fault is not None:
                assert run.fault[0] in names
            elif run.quiescent():
                assert tuple(run.places[: tables.threads]) in found.quiescent


async def blink(cell):
    await cell.store(1)
    await cell.store(0)


async def look(cell):
    if await cell.load():
        message = "seen in between"
        raise KernelBug(message)


def found_by(walker, walks):
    cell = Cell("c", 0)
    tables = toy(thread(blink, cell), thread(look, cell))
    run = Run(tables)
    found = 0
    for seed in range(walks):
        run.restart()
        walk(run, walker_named(walker, 3), random.Random(seed))
        found += run.fault is not None
    return found


def test_pct_finds_a_bug_of_depth_two_as_often_as_its_theorem_says():
    """Two threads, three steps: one walk in n k^(d-1) = 2 * 3 finds it, none without a change of priority."""
    assert found_by("pct2", 600) >= 600 / 6 * 0.8
    assert found_by("pct1", 200) == 0
    assert found_by("uniform", 200) > 0
    assert found_by("pos", 200) > 0


def test_an_unknown_walker():
    with pytest.raises(KeyError):
        walker_named("pct4")
