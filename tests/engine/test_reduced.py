"""The reduction against the search it must agree with, on random programs."""

import pytest
from hypothesis import HealthCheck, given, settings

from mmsim.cells import Cell, RwSem
from mmsim.engine.lockdep import lock_fault
from mmsim.engine.reduced import Persistent, explore_reduced
from mmsim.engine.search import explore
from tests.engine.programs import (
    Program,
    broken_names,
    modest,
    outcomes,
    programs,
    seeded,
    tables_of,
    thread,
    told,
    toy,
)

RANDOM = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


def both(program, *, ignorant=False):
    """(tables, found) of the unreduced search and of the reduced one; None if the former is too long for a test.

    `ignorant`: without the random walks that teach the reduced search most of what there is before it begins.
    """
    whole, resting = tables_of(program)
    everything = explore(whole, resting=resting, stop=modest)
    if everything.stopped is not None:
        return None
    part, resting = tables_of(program)
    part.rehearsed = ignorant
    return (whole, everything), (part, explore_reduced(part, resting=resting))


def agree(program, *, exactly=False, ignorant=False):
    """The same verdict from the same evidence; `exactly`, even what is found beside a violation is the same."""
    pair = both(program, ignorant=ignorant)
    if pair is None:
        return
    (whole, everything), (part, found) = pair
    names, expected = broken_names(found), broken_names(everything)
    seen, possible = outcomes(part, found), outcomes(whole, everything)
    assert found.stopped is None
    assert bool(names) == bool(expected), program
    assert names <= expected, program
    assert seen <= possible, program
    if exactly or not expected:
        assert names == expected, program
        assert seen == possible, program
        assert rule(part) == rule(whole), program


def rule(tables):
    fault = lock_fault(tables.automata)
    return fault and fault.property


@RANDOM
@given(programs(devices=False))
def test_reduced_and_unreduced_agree(program):
    agree(program)


@RANDOM
@given(programs(copies=True, threads=2, steps=3, retries=False, devices=False))
def test_they_agree_on_copies(program):
    agree(program)


@pytest.mark.parametrize("batch", range(4))
def test_they_agree_on_many_programs_of_a_seed(batch):
    for number in range(50):
        agree(seeded(f"reduced/{batch}/{number}", steps=3, devices=False))


@pytest.mark.parametrize("batch", range(3))
def test_they_agree_on_programs_with_devices(batch):
    for number in range(60):
        agree(seeded(f"devices/{batch}/{number}", steps=3))


@pytest.mark.parametrize("batch", range(3))
def test_they_agree_on_all_that_is_broken(batch):
    for number in range(60):
        agree(seeded(f"broken/{batch}/{number}", steps=3, devices=False), exactly=True)


@pytest.mark.parametrize("batch", range(4))
def test_they_agree_where_the_reduced_search_learns_as_it_goes(batch):
    """It is misled time and again, and must go back to where it was."""
    for number in range(60):
        agree(seeded(f"ignorant/{batch}/{number}", steps=3, devices=bool(batch % 2)), ignorant=True)


def agree_on(count):
    for number in range(count):
        agree(seeded(f"ignorant/0/{number}", steps=3, devices=False), ignorant=True)


def test_a_search_that_never_goes_back_would_be_wrong(monkeypatch):
    """Or the test above could not fail."""
    monkeypatch.setattr(Persistent, "better_informed", lambda self: (Persistent(self.tables), None))
    with pytest.raises(AssertionError):
        agree_on(200)


# Programs that once told the two searches apart, made small.


@pytest.mark.parametrize(
    "program",
    [
        Program(
            ((("read", 0, ()),), (("downgrade", 0, (), ()), ("add_return", 2, 1)), (("exchange", 2, 2),)),
            (1, 0, 0),
            silent=(0,),
        ),
        Program(
            ((("read", 1, ()),), (("inc_unless_negative", 0),), (("lock", 1, (("cmpxchg", 0, 0, 2),)),)),
            (1, 1, 0, 0),
            silent=(0,),
        ),
    ],
)
def test_the_silence_of_a_device_is_part_of_the_outcome(program):
    agree(program)


@pytest.mark.parametrize(
    "program",
    [
        Program(((("dec_and_test", 0),), (("inc", 2),)), (0, 1, 0, 0), judges=(("both", 2, 3, 0),)),
        Program(((("dec_and_test", 0),), (("add_return", 1, 1),)), (0, 1), silent=(0,)),
    ],
)
def test_a_forced_violation_hides_no_other(program):
    agree(program, exactly=True)


async def waiter(flag, cell):
    await flag.wait_until(bool)
    return await cell.load()


async def raise_flag(flag):
    await flag.store(1)


async def exchanger(cell, value):
    return await cell.exchange(value)


def test_a_device_may_stay_silent_while_others_race():
    """The racers are a persistent pair, the device alone a smaller set; but its silence is part of the outcome."""

    def threads():
        flag, cell = Cell("flag", 0), Cell("x", 0)
        return toy(
            thread(raise_flag, flag, silent=True),
            thread(waiter, flag, cell),
            thread(exchanger, cell, 1, name="one"),
            thread(exchanger, cell, 2, name="two"),
        )

    whole, part = threads(), threads()
    assert told(part, explore_reduced(part)) == told(whole, explore(whole))


def test_adds_commute_only_while_nobody_looks():
    """Three adders and one reader: the reader may see 0, 1, 2 or 3."""
    program = Program(((("inc", 0),), (("inc", 0),), (("inc", 0),), (("load", 0),)), (0, 0))
    part, resting = tables_of(program)
    assert {values[-1] for values in told(part, explore_reduced(part, resting=resting))} == {(0,), (1,), (2,), (3,)}
    agree(program)


def test_a_reference_taken_while_another_raises_the_count_from_0():
    agree(Program(((("inc", 0),), (("get_reference", 0),)), (0, 0)))


def test_a_property_that_looks_further_only_sometimes():
    """The judge looks at c2 only where c1 is 1: that it looks there is learnt during the search, which then begins anew."""
    program = Program(
        ((("inc", 0),), (("store", 1, 1),), (("store", 2, 2),)), (0, 0, 0), judges=(("chain", 0, 1, 2, 2),)
    )
    part, resting = tables_of(program)
    assert broken_names(explore_reduced(part, resting=resting)) == {"chain"}
    agree(program)


async def reads_under(cell, sem):
    async with sem.read():
        return await cell.load()


async def writes_twice_under(cell, sem):
    async with sem.read():
        await cell.store(1)
        await cell.store(2)


def test_a_lock_held_for_reading_holds_back_no_reader():
    """What a writer does behind the same semaphore, taken for reading as well, races with the reader: 0, 1 and 2."""
    cell, sem = Cell("c", 0), RwSem("a.sem")
    tables = toy(thread(reads_under, cell, sem), thread(writes_twice_under, cell, sem))
    assert {seen for seen, _ in told(tables, explore_reduced(tables))} == {0, 1, 2}
