"""Copies: one state of each permutation, and still every outcome."""

import itertools

import pytest

from mmsim.cells import World
from mmsim.engine.reduced import explore_reduced
from mmsim.engine.run import Run, outcome
from mmsim.engine.search import explore
from mmsim.engine.symmetry import Symmetry
from mmsim.engine.tables import Tables
from mmsim.threads import Machine
from tests.engine.programs import seeded, tables_of, thread
from tests.engine.test_reduced import agree


def machine(function, *groups, **shared):
    """Copies of `function`: for each group (name, how many), all with the same shared cells and one of their own."""
    world = World()
    cells = [world.cell(name, value) for name, value in shared.items()]
    threads, names = [], []
    for name, count in groups:
        names.append(tuple(f"{name}[{number}]" for number in range(count)))
        for number, copy in enumerate(names[-1]):
            threads.append(thread(function, number, world.cell(f"{copy}.x", 0), *cells, name=copy))
    return Machine(world, tuple(threads), copies=tuple(names))


def searched(*how, **shared):
    """Outcomes unreduced, and outcomes of the reduced search with their twins."""
    whole = Tables(machine(*how, **shared))
    everything = {outcome(whole, nodes) for nodes in explore(whole).quiescent}
    part = Tables(machine(*how, **shared))
    found = explore_reduced(part)
    symmetry = Symmetry(part)
    seen = set().union(*(symmetry.all_renamed(outcome(part, nodes)) for nodes in found.quiescent))
    return everything, seen, found


async def adds_itself(_number, own, shared):
    await own.store(await shared.add_return(1))
    return await own.load()


@pytest.mark.parametrize("count", [2, 3])
def test_every_order_of_arrival(count):
    """Each copy gets another number: all permutations are outcomes, and one of each is enough to find them."""
    everything, seen, found = searched(adds_itself, ("user", count), shared=0)
    assert everything == seen
    assert {tuple(value for _, value in one) for one in seen} == set(itertools.permutations(range(1, count + 1)))
    assert found.states < len(everything) + 12


async def looks_at_its_number(number, own, shared):
    if number:
        await shared.store(number)
    return await shared.exchange(7)


async def stores_its_number(number, own, shared):
    await own.store(number)
    return (await own.load(), await shared.exchange(number))


@pytest.mark.parametrize("function", [looks_at_its_number, stores_its_number])
def test_copies_that_differ_are_no_copies(function):
    everything, seen, _ = searched(function, ("user", 2), shared=0)
    assert seen == everything


async def returns_its_number(number, own, shared):
    return number, await shared.add_return(1)


def test_copies_that_differ_in_what_they_return():
    everything, seen, _ = searched(returns_its_number, ("user", 2), shared=0)
    assert seen == everything


def test_two_groups_of_copies():
    everything, seen, _ = searched(adds_itself, ("user", 2), ("guest", 2), shared=0)
    assert seen == everything


def test_random_copies():
    for number in range(60):
        agree(seeded(f"copies/{number}", threads=2, steps=3, copies=True, devices=False, retries=False))


def test_a_machine_without_copies():
    tables, _ = tables_of(seeded("none", copies=False))
    assert Symmetry(tables).canonical(tables.unpack(tables.initial())) == tables.initial()


async def puts_its_cell(_number, own, shared):
    await shared.store(own)
    await own.store(1)


def test_a_permutation_renames_what_cells_hold():
    """After the first copy's step the shared cell holds the first copy's own cell; renamed, it holds the second's."""
    tables = Tables(machine(puts_its_cell, ("user", 2), shared=None))
    first, second = (tables.machine.world.named(f"user[{number}].x") for number in (0, 1))
    run = Run(tables)
    run.step(0)
    run.step(1)  # so that both copies' cells are known
    run.restart()
    run.step(0)
    shared = tables.machine.world.named("shared")
    assert tables.view(run.places)[shared] is first
    swapped = Symmetry(tables).renamed((("user[0]", "user[1]"), ("user[1]", "user[0]")), run.places)
    assert tables.view(swapped)[shared] is second
    assert list(swapped[:2]) == [run.places[1], run.places[0]]
