"""Threads that are not well behaved, and searches that are ended: each a sentence."""

import asyncio
from pathlib import Path

import pytest

from mmsim.cells import Cell
from mmsim.check.bounds import Bounds, stopper
from mmsim.engine.reduced import explore_reduced
from mmsim.engine.search import explore
from mmsim.errors import UserError
from tests.engine.programs import thread, toy

HERE = __file__.rpartition("/")[2]


def line_of(marker):
    with Path(__file__).open(encoding="utf-8") as source:
        return next(number for number, line in enumerate(source, 1) if line.rstrip().endswith(f"# {marker}"))


def complaint(function, *more):
    cell = Cell("c", 0)
    with pytest.raises(UserError) as caught:
        explore(toy(thread(function, cell, *more, name="culprit"), thread(writer, cell)))
    text = str(caught.value)
    assert "\n" not in text
    assert "culprit" in text
    return text


async def writer(cell):
    await cell.store(1)


async def crashes(cell):
    return 1 // await cell.load()  # crash


def test_an_exception_names_the_thread_and_the_line():
    text = complaint(crashes)
    assert f"{HERE}:{line_of('crash')}" in text
    assert "ZeroDivisionError" in text


class Odd:
    def __await__(self):
        yield "something odd"


async def deeper():
    await Odd()  # odd


async def odd(cell):
    await cell.load()
    await deeper()


async def odd_at_once(_cell):
    await Odd()


def test_awaiting_something_that_is_no_step():
    text = complaint(odd)
    assert f"{HERE}:{line_of('odd')}" in text
    assert "'something odd'" in text
    assert "'something odd'" in complaint(odd_at_once)


async def sleeps(cell):
    await cell.load()
    await asyncio.sleep(0)  # asyncio


def test_awaiting_asyncio():
    assert "awaits something that is no step" in complaint(sleeps)


def test_awaiting_asyncio_names_the_users_line():
    assert f"{HERE}:{line_of('asyncio')}" in complaint(sleeps)


async def stores_a_list(cell):
    await cell.store([1])  # list


def test_a_value_that_is_not_hashable():
    text = complaint(stores_a_list)
    assert "not hashable" in text
    assert "cell c" in text
    with pytest.raises(TypeError, match=r"for cell c is not hashable"):
        Cell("c", [1])


def test_a_value_that_is_not_hashable_names_the_users_line():
    assert f"{HERE}:{line_of('list')}" in complaint(stores_a_list)


def a_list(_old):
    return [1]


def a_list_beside(old):
    return old, [1]


def explodes(_old):
    message = "boom"
    raise ValueError(message)


async def updates_to(cell, change):
    await cell.update(change)


async def fetches(cell, change):
    await cell.fetch_update(change)


async def expects_a_list(cell, old):
    await cell.cmpxchg(old, 1)


@pytest.mark.parametrize(
    ("function", "operand"),
    [(updates_to, a_list), (fetches, a_list_beside), (updates_to, explodes), (expects_a_list, [0])],
    ids=["new value", "result", "exception in an effect", "operand"],
)
def test_mistakes_inside_an_effect(function, operand):
    complaint(function, operand)


async def returns_a_list(cell):
    return [await cell.load()]


def test_an_outcome_that_is_not_hashable():
    assert "returned [0], which is not hashable" in complaint(returns_a_list)


CALLS: list[int] = []  # a global: no local tells


async def forgetful(cell):
    CALLS.append(1)
    await cell.load()
    if len(CALLS) > 1:
        await cell.store(9)  # differs
    await cell.load()  # first
    await cell.load()


def test_a_coroutine_that_behaves_differently_when_run_again():
    CALLS.clear()
    text = complaint(forgetful)
    assert "behaves differently when it is run again" in text
    assert f"load(c) at {HERE}:" in text
    assert "now the same with other local values" in text or f"store(c, 9) at {HERE}:{line_of('differs')}" in text


async def tells_how_often(cell):
    CALLS.append(1)
    await cell.load()
    return len(CALLS)


def test_a_difference_that_no_step_shows():
    CALLS.clear()
    assert "behaves differently when it is run again" in complaint(tells_how_often)


# ---- bounds


async def climbs(cell, times):
    for _ in range(times):
        await cell.exchange(times)
        await cell.exchange(0)


def big():
    cell = Cell("c", 0)
    return toy(*(thread(climbs, cell, 12, name=name) for name in "abc"))


def ticking():
    now = 0.0

    def clock():
        nonlocal now
        now += 1.0
        return now

    return clock


SEARCHES = pytest.mark.parametrize("search", [explore, explore_reduced])


@SEARCHES
@pytest.mark.parametrize(
    ("bounds", "sentence"),
    [
        (Bounds(max_states=1000), "1000 states"),
        (Bounds(max_seconds=3), "3 seconds"),
        (Bounds(max_seconds=0.5), "0.5 seconds"),
        (Bounds(max_memory=20_000), "20000 bytes of states"),
    ],
)
def test_every_bound_ends_the_search_with_a_sentence(search, bounds, sentence):
    found = search(big(), stop=stopper(bounds, ticking(), None))
    assert found.stopped == sentence
    assert found.states > 0
    assert found.waiting > 0


@SEARCHES
def test_no_bound_reached(search):
    found = search(big(), stop=stopper(Bounds(10**9, 1e9, 10**12), ticking(), None))
    assert found.stopped is None
    assert found.waiting == 0


@SEARCHES
def test_an_interrupt_ends_it_as_a_bound_does(search):
    def interrupt(_found):
        raise KeyboardInterrupt

    found = search(big(), stop=interrupt)
    assert found.stopped == "interrupted"
    assert found.states > 0


def test_progress_is_reported():
    reports = []
    explore(big(), stop=stopper(Bounds(), ticking(), reports.append))
    assert len(reports) >= 2
    assert [report.states for report in reports] == sorted(report.states for report in reports)
    assert all(report.memory > 0 and report.seconds > 0 for report in reports)
