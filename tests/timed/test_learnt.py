"""Learnt calls do what the calls themselves do: the same steps, the same answers, the same bugs at the same places."""

from __future__ import annotations

from itertools import chain, repeat

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsim.cells import World
from mmsim.kernel.paths import as_it_is
from mmsim.kernel.releases import release_named
from mmsim.machine import boot
from mmsim.steps import KernelBug
from mmsim.strategies import BY_NAME
from mmsim.threads import Thread
from mmsim.timed import learnt as module
from mmsim.timed import simulate
from mmsim.timed.learnt import Learnt, Root
from mmsim.timed.presets import CLOUD
from mmsim.timed.workloads import WORKLOADS, Load, measure, workload
from mmsim.timed.workloads.probe import Probe
from mmsim.timed.workloads.workload import metered
from tests.timed.toys import machine


def answered(call, steps, results):
    """Go along what is learnt to the answer, as a driver does."""
    node = call.onward(None)
    while node.step is not None or node.call is not None:
        if node.call is not None:
            result = answered(node.call, steps, results)
        else:
            steps.append(node.step)
            result = next(results)
        node = node.onward(result)
    if call.run is not None:
        call.is_over()
    return node.answer


def as_part(function):
    return Learnt(function, part=True)


def driven(call, results):
    """What a call makes of these results: its steps, and its answer or its bug."""
    steps, results = [], iter(results)

    async def caller():
        return await call

    walk = caller()
    try:
        step = walk.send(None)
        while True:
            if isinstance(step, Root):
                step = walk.send(answered(step, steps, results))
            else:
                steps.append(step)
                step = walk.send(next(results))
    except StopIteration as end:
        return steps, end.value
    except KernelBug as bug:
        return steps, str(bug)


def walker(world, started):
    """Goes on for as many steps as the results tell, and remembers how often it was started."""
    cell = world.cell("cell", 0)

    async def walk(first, *, more=0):
        started.append(first)
        seen = [first, await cell.add_return(more)]
        while seen[-1] and len(seen) < 6:
            seen.append(await cell.cmpxchg(seen[-1], seen[-2]))
        if seen[-1] == "bug":
            raise KernelBug(str(seen))
        return tuple(seen)

    return walk


calls = st.tuples(
    st.sampled_from([0, 1, True, "x"]),
    st.sampled_from([{}, {"more": 1}, {"more": True}]),
    st.lists(st.sampled_from([0, 1, True, False, 2, "bug"]), min_size=6, max_size=6),
)


@given(st.lists(calls, max_size=60))
def test_a_learnt_call_makes_the_same_steps_and_has_the_same_answer(many):
    world = World()
    walk = walker(world, [])
    learnt = Learnt(walk)
    for first, options, results in many:
        mine, theirs = (driven(call(first, **options), results) for call in (learnt, walk))
        assert repr(mine) == repr(theirs)  # 1 is not True


def climbing(world, wrap):
    """Paths that call each other, and one that calls itself; each is called as `wrap` makes it."""
    cell = world.cell("cell", 0)

    async def leaf(number):
        result = await cell.add_return(number)
        if result == "bug":
            raise KernelBug(repr(number))
        return result == 1

    async def careful(number):
        try:
            return await calls[leaf](number)
        except KernelBug as bug:
            return f"{bug} {await cell.exchange(number)!r}"  # for within a tuple 1 is True

    async def climb(height):
        result = await cell.cmpxchg(height, 0)
        found = [await calls[careful](result), await calls[leaf](height)]
        if result == 2:
            found += await calls[climb](height)
        elif result:
            found += await calls[climb](result)
        return (*found, await calls[leaf](result), await cell.load())

    calls = {path: wrap(path) for path in (leaf, careful, climb)}
    return calls[climb]


climbs = st.tuples(st.sampled_from([0, 1, True]), st.lists(st.sampled_from([0, 1, True, 2, "bug"]), max_size=9))


@pytest.mark.parametrize("most", [3, 40, module.MOST])
@given(many=st.lists(climbs, max_size=40))
def test_calls_within_calls_are_learnt_as_one_each(most, many):
    world = World()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST", most)
        learnt, plain = climbing(world, as_part), climbing(world, lambda path: path)
        for height, results in many:
            mine, theirs = (driven(call(height), chain(results, repeat(0))) for call in (learnt, plain))
            assert repr(mine) == repr(theirs)


def test_no_more_is_kept_of_a_part_that_only_another_call_knows_of(monkeypatch):
    monkeypatch.setattr(module, "MOST", 10)
    world = World()
    cell = world.cell("cell", 0)

    async def part():
        await cell.load()

    async def whole():
        await inner()

    inner, call = as_part(part), as_part(whole)
    driven(call(), [0])
    held = call().onward(None).call
    for result in range(100):
        driven(call(), [result])
    assert held is call().onward(None).call is not inner()  # which the part itself has forgotten
    assert len(held.onward(None).next or ()) <= 10


def test_a_part_hides_what_happens_in_it_from_the_calls_around_it():
    world, started = World(), []
    cell = world.cell("cell", 0)

    async def part():
        started.append("part")
        await cell.load()

    async def whole():
        started.append("whole")
        await inner()
        await cell.load()

    inner = Learnt(part, part=True)
    call = Learnt(whole, part=True)
    for result in range(5):
        driven(call(), [result, 0])
    assert started == ["whole"] + 5 * ["part"]


def test_what_was_met_before_is_not_run_again():
    started = []
    learnt = Learnt(walker(World(), started))
    for _ in range(100):
        assert driven(learnt(7), [1, 2, 0])[1] == (7, 1, 2, 0)
    assert len(started) == 2  # the first call may be the only one; the second learns
    driven(learnt(7), [1, 3, 0])
    assert len(started) == 3


def test_what_never_comes_again_is_soon_run_as_it_is():
    started = []
    learnt = Learnt(walker(World(), started))
    for number in range(200):
        driven(learnt(number), [number, 0])
    assert len(started) == 200
    driven(learnt(7), [7, 0])
    driven(learnt(7), [7, 0])
    assert len(started) == 202


def test_what_comes_again_after_all_is_learnt_when_it_is_tried_again():
    started = []
    learnt = Learnt(walker(World(), started))
    for number in range(100, 100 + module.TRIAL):
        driven(learnt(number), [number, 0])  # does not pay
    for _ in range(10 * module.TRIAL):
        driven(learnt(7), [7, 0])
    assert module.TRIAL < len(started) <= 3 * module.TRIAL + 2  # it rested for two trials


def test_no_more_is_kept_than_is_allowed(monkeypatch):
    monkeypatch.setattr(module, "MOST", 10)
    started = []
    learnt = Learnt(walker(World(), started))
    for result in range(1, 30):
        for _ in range(40):
            driven(learnt(7), [result, 0])
    assert 30 < len(started) < 60  # forgotten a few times, learnt again each time


def test_arguments_that_may_change_are_not_remembered():
    started = []
    learnt = Learnt(walker(World(), started))
    for _ in range(5):
        assert driven(learnt([7]), [0])[1] == ([7], 0)
    assert len(started) == 5


def dropping(wrap):
    """A thread that drops one reference too many, and what it is told then."""
    world = World()
    count = world.cell("page._refcount", 4)

    async def drop():
        await count.load()
        await count.dec_and_test()

    async def put():
        await dropped()
        await count.load()

    dropped = wrap(drop)

    async def user():
        called = wrap(put)
        while True:
            await called()

    return machine(world, Thread("user", user))


@pytest.mark.parametrize("wrap", [Learnt, as_part])
def test_a_bug_has_the_same_place(wrap):
    plain, learnt = (simulate(dropping(way)) for way in (lambda function: function, wrap))
    assert plain.violation == learnt.violation
    assert "reference count below zero (user, drop() at test_learnt.py:" in learnt.violation[1]


@pytest.mark.parametrize("wrap", [Learnt, as_part])
def test_the_timeline_is_the_same(wrap):
    plain, learnt = (simulate(dropping(way), timeline=True) for way in (lambda function: function, wrap))
    assert [step.function for step in learnt.timeline] == ["drop", "drop", "put"] * 4 + ["drop"]
    assert learnt.timeline == plain.timeline


@pytest.mark.parametrize("name", ["dio_server", "munmap_storm", "video_frames"])
def test_the_timeline_of_a_workload_is_the_same(name):
    def timeline(learn):
        probe = Probe(None, 1e9, 0, CLOUD.syscall)
        scenario = metered(WORKLOADS[name].scenario(Load(2, 2)), probe)
        booted = boot(scenario, BY_NAME["delayed_unmap"], release_named("v6.18"), reuses=True, learn=learn)
        steps = simulate(booted, cpus=2, until_ns=1.5e6, timeline=True, observer=probe).timeline
        return [step._replace(old=None, new=None, result=None) for step in steps]  # of another machine's objects

    mine, theirs = timeline(Learnt), timeline(as_it_is)
    assert len(mine) > 500
    assert mine == theirs


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_measures_the_same_without(name, monkeypatch):
    def run():
        one = WORKLOADS[name]
        return measure(one, BY_NAME["delayed_unmap"], release_named("v6.18"), CLOUD, Load(2, 3), one.seconds / 20)

    learnt = run()
    monkeypatch.setattr(workload, "Learnt", as_it_is)
    assert attrs.asdict(run()) == attrs.asdict(learnt)
