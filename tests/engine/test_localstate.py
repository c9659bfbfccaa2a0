"""Local states: what shares a node, what must not, and that keeping all histories apart finds the same outcomes."""

import sys

import pytest
from hypothesis import HealthCheck, given, settings

from mmsim.cells import Cell, Mutex, RwSem, SpinLock
from mmsim.engine import localstate
from mmsim.engine.automaton import Automaton
from mmsim.engine.localstate import TRUSTED, local_state
from mmsim.engine.reduced import explore_reduced
from mmsim.engine.search import explore
from tests.engine.localstates import (
    WAYS,
    aliased,
    counts_to_two,
    forgets,
    pops,
    same_item_again,
    sharing,
    sum_of_two,
    unknown_object,
)
from tests.engine.programs import broken_names, modest, outcomes, programs, seeded, tables_of, thread, told, toy

needs_trust = pytest.mark.skipif(not TRUSTED, reason="local states are read on CPython 3.11 to 3.13 only")


async def scribble(cell):
    await cell.store(1)
    await cell.store(2)


def judged(function, *more, merge, alone=False):
    """Outcomes of a thread that reads a cell which another one changes, with the number of its nodes.

    `alone`, every result is the same, so that one coroutine goes the whole way and is never run again.
    """
    cell = Cell("c", 0)
    others = () if alone else (thread(scribble, cell),)
    tables = toy(thread(function, cell, *more, name="t"), *others, merge=merge)
    found = explore(tables, stop=modest, depth=30)
    return told(tables, found), len(tables.automata[0].nodes), tables.automata[0]


# ---- alike


@needs_trust
def test_two_histories_with_the_same_locals_share_a_node():
    """Load, load, end: three nodes, though the first load has three results."""
    assert judged(forgets, merge=True)[1] == 3
    assert judged(forgets, merge=False)[1] == 1 + 3 + 1  # one more for each result; the ends are one outcome
    assert judged(counts_to_two, merge=True)[1] == 3


@pytest.mark.parametrize("alone", [False, True], ids=["racing", "alone"])
@pytest.mark.parametrize("function", WAYS, ids=lambda function: function.__name__)
def test_every_way_to_hold_a_local_state_is_told_apart(function, alone):
    """The audit keeps histories apart and so cannot err; merging must find the very same outcomes."""
    merged, _, _ = judged(function, merge=True, alone=alone)
    apart, _, _ = judged(function, merge=False, alone=alone)
    assert apart
    assert merged == apart


def test_a_closure_is_told_apart():
    merged, _, _ = judged(sharing(), merge=True)
    assert merged == judged(sharing(), merge=False)[0]


async def locked(cell, mutex, sem, spin):
    async with mutex:
        first = await cell.load()
    async with sem.read():
        second = await cell.load()
    async with spin.irqsave():
        third = await cell.load()
    return first, second, third


async def open_or_not(cell, mutex, sem, spin):
    """Which lock is open is known to nothing but the evaluation stack."""
    async with mutex if await cell.load() else sem:
        await cell.load()
    return await mutex.load(), await sem.load()


@pytest.mark.parametrize("function", [locked, open_or_not])
def test_open_locks_are_part_of_the_state(function):
    told_apart = [
        judged(function, Mutex("x.m"), RwSem("x.s"), SpinLock("x.l"), merge=merge)[0] for merge in (True, False)
    ]
    assert told_apart[0] == told_apart[1] != set()


# ---- when it cannot be told


def test_a_value_of_unknown_type_falls_back_to_the_history():
    _, _, automaton = judged(unknown_object, merge=True)
    assert not automaton.merging
    coroutine = unknown_object(Cell("c", 0))
    coroutine.send(None)
    assert local_state(coroutine) is None
    coroutine.close()


@needs_trust
def test_a_plain_local_state_can_be_told():
    coroutines = [forgets(Cell("c", 0)) for _ in range(2)]
    states = []
    for coroutine in coroutines:
        coroutine.send(None)
        states.append(local_state(coroutine))
        coroutine.close()
    assert states[0] is not None
    assert hash(states[0]) is not None


@pytest.mark.parametrize("function", [sum_of_two, aliased, same_item_again, pops])
def test_a_python_that_is_not_trusted_is_right_all_the_same(function, monkeypatch):
    expected = judged(function, merge=False)[0]
    monkeypatch.setattr(localstate, "TRUSTED", False)
    found, _, automaton = judged(function, merge=True)
    assert found == expected
    assert not automaton.merging


def test_untrusted_random_programs(monkeypatch):
    for number in range(40):
        program = seeded(f"untrusted/{number}", steps=3, retries=False)
        trusted, resting = tables_of(program)
        expected = explore(trusted, resting=resting, stop=modest)
        if expected.stopped is None:
            with monkeypatch.context() as patch:
                patch.setattr(localstate, "TRUSTED", False)
                plain, resting = tables_of(program)
                found = explore(plain, resting=resting)
            assert outcomes(plain, found) == outcomes(trusted, expected)
            assert broken_names(found) == broken_names(expected)


# ---- the audit of whole searches


@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
@given(programs(retries=False, steps=3))
def test_the_audit_finds_the_same(program):
    """Histories of a loop without end would never end, so there are none here."""
    audit, resting = tables_of(program, merge=False)
    expected = explore(audit, resting=resting, stop=modest)
    if expected.stopped is None:
        tables, resting = tables_of(program)
        found = explore(tables, resting=resting)
        assert outcomes(tables, found) == outcomes(audit, expected)
        assert broken_names(found) == broken_names(expected)
        assert found.states <= expected.states


def test_the_audit_finds_the_same_on_programs_of_a_seed():
    for number in range(60):
        program = seeded(f"audit/{number}", steps=3, retries=False, devices=False)
        audit, resting = tables_of(program, merge=False)
        expected = explore(audit, resting=resting, stop=modest)
        if expected.stopped is None and not expected.broken:
            tables, resting = tables_of(program)
            found = explore_reduced(tables, resting=resting)
            assert outcomes(tables, found) == outcomes(audit, expected)
            assert not found.broken


def test_nodes_are_numbered_from_the_start():
    automaton = Automaton(thread(forgets, Cell("c", 0)))
    assert [node.number for node in automaton.nodes] == [0]
    assert automaton.follow(0, 0) == 1
    assert automaton.follow(0, 0) == 1
    assert automaton.edges == 1
    assert sys.version_info >= (3, 11)


async def a_list_or_what_looks_like_one(cell):
    kept = (list, (1, 2)) if await cell.load() else [1, 2]
    await cell.load()
    return type(kept).__name__


def test_a_tuple_never_looks_like_the_encoding_of_a_list():
    assert judged(a_list_or_what_looks_like_one, merge=True)[0] == judged(a_list_or_what_looks_like_one, merge=False)[0]
