"""The unreduced search: states, transitions and outcomes that were counted by hand."""

from mmsim.cells import Cell, Mutex
from mmsim.engine.reduced import explore_reduced
from mmsim.engine.search import explore
from mmsim.steps import choose
from mmsim.verdict import WAITING
from tests.engine.programs import at_least, broken_names, thread, told, toy


async def increment(cell):
    seen = await cell.load()
    await cell.store(seen + 1)
    return seen


def test_two_increments_by_load_and_store():
    """L is about to load, Sn about to store n+1, En has ended with n; then the cell.  In order of depth:

    0  LL0                           2 moves
    1  S0L0  LS00                    2 each
    2  S0S00 (2 moves)  E0L1  LE01   1 each
    3  E0S01  S0E01  E0S11  S1E01    1 each
    4  E0E01  E0E12  E1E02           none

    1 + 2 + 3 + 4 + 3 = 13 states, 2 + 4 + 4 + 4 = 14 transitions; somebody saw 0, and both did if one was lost.
    """
    cell = Cell("c", 0)
    tables = toy(thread(increment, cell, name="a"), thread(increment, cell, name="b"))
    found = explore(tables)
    assert (found.states, found.transitions, found.waiting, found.stopped) == (13, 14, 0, None)
    assert told(tables, found) == {(0, 0), (0, 1), (1, 0)}
    assert not found.broken


def test_depth_limits_the_search():
    """As above: three depths of 1 + 2 + 3 states, 2 + 4 transitions, and three states still waiting."""
    cell = Cell("c", 0)
    tables = toy(thread(increment, cell, name="a"), thread(increment, cell, name="b"))
    found = explore(tables, depth=2)
    assert (found.states, found.transitions, found.waiting, found.depth) == (6, 6, 3, 2)


async def adder(cell, times):
    for _ in range(times):
        await cell.inc()


def test_two_adders():
    """Who has added how often tells the sum: a grid of 3 x 3 states, with 2 x 3 moves along each of its two sides."""
    cell = Cell("c", 0)
    tables = toy(thread(adder, cell, 2, name="a"), thread(adder, cell, 2, name="b"))
    found = explore(tables)
    assert (found.states, found.transitions) == (9, 12)
    assert told(tables, found) == {(None, None)}


def test_adds_that_nobody_reads_need_one_order():
    """Reduced: four moves, whatever the order; three adders of one each are a cube unreduced (8 corners, 12 edges)."""
    cell = Cell("c", 0)
    tables = toy(thread(adder, cell, 2, name="a"), thread(adder, cell, 2, name="b"))
    explore_reduced(tables)
    found = explore_reduced(tables)
    assert found.transitions == 4
    three = toy(*(thread(adder, cell, 1, name=name) for name in "xyz"))
    found = explore(three)
    assert (found.states, found.transitions) == (8, 12)


async def diner(first, second):
    async with first, second:
        pass


def test_two_diners():
    """Each takes its first fork, its second, puts back the second, the first: 0 to 4.

    a holds x in 1, 2, 3 and y in 2; b holds y in 1, 2, 3 and x in 2.  Of the 25 pairs, b = 2 needs a in {0, 4} and a = 2
    needs b in {0, 4}, which leaves 25 - 3 - 3 + 1 = 20 pairs; and 3-3 cannot be reached, for whoever passes 2 last does so
    while the other holds nothing.  19 states.  a moves 0-1 unless b = 2 (4 of 5), 1-2 and 2-3 if b is in {0, 4} (2 + 2),
    3-4 always (3): 11 moves, and 11 of b's.  1-1 is the deadlock.
    """
    x, y = Mutex("x.fork"), Mutex("y.fork")
    tables = toy(thread(diner, x, y, name="a"), thread(diner, y, x, name="b"))
    found = explore(tables)
    assert (found.states, found.transitions) == (19, 22)
    assert [broken.fault for broken in found.broken] == [
        ("no deadlock", "a waits in lock y.fork; b waits in lock x.fork")
    ]
    assert broken_names(explore_reduced(tables)) == {"no deadlock"}


async def device(cell):
    await cell.store(1)


async def user(cell):
    return await cell.wait_until(at_least, 1)


def test_a_silent_device_may_never_answer():
    """Waiting; answered; ended: three states, two moves.  A device that must answer has one outcome only."""
    cell = Cell("c", 0)
    tables = toy(thread(user, cell), thread(device, cell, silent=True))
    found = explore(tables)
    assert (found.states, found.transitions) == (3, 2)
    assert told(tables, found) == {(WAITING,), (1,)}
    tables = toy(thread(user, cell), thread(device, cell))
    assert told(tables, explore(tables)) == {(1, None)}


async def chooser():
    return await choose(3)


def test_a_free_choice():
    """One state, and one for each of three ends."""
    tables = toy(thread(chooser))
    found = explore(tables)
    assert (found.states, found.transitions) == (4, 3)
    assert told(tables, found) == {(0,), (1,), (2,)}


async def spinner(cell):
    while True:  # a condition after `while` would be compiled twice, and be two positions
        if await cell.load():
            return "seen"


def test_a_retry_is_a_circle():
    """Spinning stays where it is: (spin, 0) and (spin, 1) and the end, with (0 -> itself), (0 -> 1), (1 -> end)."""
    cell = Cell("c", 0)
    tables = toy(thread(spinner, cell), thread(device, cell))
    found = explore(tables)
    assert (found.states, found.transitions) == (3, 3)
    assert told(tables, found) == {("seen", None)}
