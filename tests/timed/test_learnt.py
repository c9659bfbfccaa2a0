"""Learnt calls do what the calls themselves do: the same steps, the same answers, the same bugs at the same places."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsim.cells import World
from mmsim.kernel.direct_io import as_it_is
from mmsim.kernel.releases import release_named
from mmsim.steps import KernelBug
from mmsim.strategies import BY_NAME
from mmsim.threads import Thread
from mmsim.timed import learnt as module
from mmsim.timed import simulate
from mmsim.timed.learnt import Learnt, Root
from mmsim.timed.presets import CLOUD
from mmsim.timed.workloads import WORKLOADS, Load, measure, workload
from tests.timed.toys import machine


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
                node = step.onward(None)
                while node.step is not None:
                    steps.append(node.step)
                    node = node.onward(next(results))
                step = walk.send(node.answer)
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

    async def user():
        put = wrap(drop)
        while True:
            await put()

    return machine(world, Thread("user", user))


def test_a_bug_has_the_same_place():
    plain, learnt = (simulate(dropping(wrap)) for wrap in (lambda function: function, Learnt))
    assert plain.violation == learnt.violation
    assert "reference count below zero (user, drop() at test_learnt.py:" in learnt.violation[1]


def test_the_timeline_is_the_same():
    plain, learnt = (simulate(dropping(wrap), timeline=True) for wrap in (lambda function: function, Learnt))
    assert [step.function for step in learnt.timeline] == ["drop"] * 9
    assert learnt.timeline == plain.timeline


@pytest.mark.parametrize("name", ["gup_one_page", "munmap_storm", "video_frames", "leftovers"])
def test_a_workload_measures_the_same_without(name, monkeypatch):
    def run():
        one = WORKLOADS[name]
        return measure(one, BY_NAME["delayed_unmap"], release_named("v6.18"), CLOUD, Load(2, 3), one.seconds / 20)

    learnt = run()
    monkeypatch.setattr(workload, "Learnt", as_it_is)
    assert attrs.asdict(run()) == attrs.asdict(learnt)
