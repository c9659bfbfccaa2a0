"""The assumption behind the reduction: neighbouring steps that do not conflict may be swapped."""

import random

import pytest

from mmsim.engine.run import Run
from mmsim.steps import Access, conflict
from tests.engine.programs import seeded, tables_of


def snapshot(run):
    tables, places = run.tables, run.places
    values = {cell.name: tables.values[place][places[place]] for cell, place in tables.place_of.items()}
    return tuple(places[: tables.threads]), values


def replay(run, moves):
    run.restart()
    for thread, alternative in moves:
        run.step(thread, alternative)
    return snapshot(run)


def independent(one, other):
    return one.cell is None or one.cell is not other.cell or not conflict(one.access, other.access)


@pytest.mark.parametrize("batch", range(4))
def test_independent_neighbours_may_be_swapped(batch):
    swapped = 0
    for number in range(60):
        rng = random.Random(f"{batch}/{number}")
        tables, _ = tables_of(seeded(f"swap/{batch}/{number}", judges=False))
        run = Run(tables)
        moves, steps = [], []
        while (able := run.able()) and len(moves) < 40:
            thread = rng.choice(able)
            alternative = rng.randrange(run.alternatives(thread))
            steps.append(tables.node(thread, run.places[thread]).step)
            moves.append((thread, alternative))
            run.step(thread, alternative)
        if run.fault is not None:
            continue
        end = snapshot(run)
        for at in range(len(moves) - 1):
            if moves[at][0] != moves[at + 1][0] and independent(steps[at], steps[at + 1]):
                other = [*moves[:at], moves[at + 1], moves[at], *moves[at + 2 :]]
                assert replay(run, other) == end, (number, at, steps[at], steps[at + 1])
                swapped += 1
    assert swapped > 100


def test_conflict_is_symmetric_and_only_reads_and_adds_commute_with_themselves():
    for one in Access:
        for other in Access:
            assert conflict(one, other) == conflict(other, one)
            apart = {one, other} == {Access.READ} or {one, other} == {Access.ADD} or Access.NONE in (one, other)
            assert conflict(one, other) is not apart
