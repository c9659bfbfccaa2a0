"""Layouts that are outgrown: more nodes, values and cells than there was room for."""

import random

import pytest

from mmsim.cells import Cell, World
from mmsim.engine.reduced import explore_reduced
from mmsim.engine.run import Run
from mmsim.engine.search import explore
from mmsim.engine.tables import SPARE_PLACES, Tables
from mmsim.engine.walks import walk, walker_named
from mmsim.threads import Machine
from tests.engine.programs import at_least, thread, told, toy

MANY = 300


async def climbs(cell, times):
    for _ in range(times):
        await cell.add_return(1)
    return await cell.load()


async def waits(cell, least):
    return await cell.wait_until(at_least, least)


def test_more_values_and_nodes_than_a_byte_can_number():
    """300 rises, one load, the end: 302 states in a row; one after the other."""
    tables = toy(thread(climbs, Cell("c", 0), MANY))
    found = explore(tables)
    assert (found.states, found.transitions) == (MANY + 2, MANY + 1)
    assert told(tables, found) == {(MANY,)}
    assert tables.typecode == "H"


def test_the_same_reduced_and_with_somebody_else():
    """Until 300 the waiter sleeps: 300 states; then load, wait in either order: 2 x 2 states."""
    cell = Cell("c", 0)
    tables = toy(thread(climbs, cell, MANY), thread(waits, cell, MANY))
    found = explore(tables)
    assert (found.states, found.transitions) == (MANY + 4, MANY + 4)
    assert told(tables, found) == told(tables, explore_reduced(tables)) == {(MANY, MANY)}


@pytest.mark.parametrize("values", [255, 256, 257, 258])
def test_around_the_edge_of_a_byte(values):
    tables = toy(thread(climbs, Cell("c", 0), values))
    assert explore(tables).states == values + 2
    assert told(tables, explore_reduced(tables)) == {(values,)}


async def visits(world, count):
    total = 0
    for number in range(count):
        total += await world.cell(f"late{number}", number).load()
    return total


@pytest.mark.parametrize("count", [SPARE_PLACES - 1, SPARE_PLACES, SPARE_PLACES + 1, 3 * SPARE_PLACES])
def test_more_late_cells_than_spare_places(count):
    world = World()
    tables = Tables(Machine(world, (thread(visits, world, count),)))
    found = explore(tables)
    assert (found.states, found.transitions) == (count + 1, count)
    assert told(tables, found) == told(tables, explore_reduced(tables)) == {(count * (count - 1) // 2,)}


def test_a_walk_widens_as_well():
    world, cell = World(), Cell("c", 0)
    tables = Tables(Machine(world, (thread(visits, world, 100), thread(climbs, cell, MANY))))
    run = Run(tables)
    walk(run, walker_named("uniform"), random.Random(1))
    assert dict(run.outcome()) == {"visits": 4950, "climbs": MANY}
    assert len(run.moves) == 100 + MANY + 1


def looks_at_many(view, world):
    return sum(view[world.cell(f"late{number}", 1)] for number in range(2 * SPARE_PLACES))


def watching(world):
    def judge(_before, after, step):
        return ("two", "seen") if looks_at_many(after, world) and after[step.cell] == 2 else None

    return {"judge": judge, "watched": lambda cell: cell.name == "c"}


def test_a_property_that_looks_at_more_cells_than_there_is_room_for():
    world = World()
    cell = world.cell("c", 0)
    tables = Tables(Machine(world, (thread(climbs, cell, 2),)), **watching(world))
    assert [broken.fault for broken in explore(tables).broken] == [("two", "seen")]
    assert {broken.fault for broken in explore_reduced(tables).broken} == {("two", "seen")}


def test_such_a_property_on_a_run():
    world = World()
    cell = world.cell("c", 0)
    run = Run(Tables(Machine(world, (thread(climbs, cell, 2),)), **watching(world)))
    run.step(0)
    run.step(0)
    assert run.fault == ("two", "seen")


def test_such_a_property_at_rest():
    world = World()
    cell = world.cell("c", 0)

    def resting(tables, places):
        return ("rest", str(looks_at_many(tables.view(places), world)))

    run = Run(Tables(Machine(world, (thread(climbs, cell, 2),))), resting)
    walk(run, walker_named("uniform"), random.Random(1))
    assert run.fault == ("rest", str(2 * SPARE_PLACES))


async def stores(cell, value):
    await cell.store(value)


async def kind_of(cell):
    return type(await cell.load()).__name__


def test_equal_values_of_different_types_are_different_values():
    cell = Cell("c", 0)
    tables = toy(thread(stores, cell, bool(0)), thread(kind_of, cell))
    assert told(tables, explore(tables)) == {(None, "int"), (None, "bool")}
