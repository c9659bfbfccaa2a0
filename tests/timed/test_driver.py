"""The timed driver on machines small enough to work out every instant by hand.  A step costs 10 ns throughout."""

from __future__ import annotations

import pytest

from mmsim.cells import SpinLock, World
from mmsim.steps import Access, KernelBug, Step, cond_resched, sleep
from mmsim.threads import Thread
from mmsim.timed import RUNNING, Ended, FlatCost, simulate
from tests.timed.toys import machine, spinner, steps_of, two_users


def test_a_step_takes_effect_at_the_end_of_its_cost():
    world = World()
    counter = world.cell("counter", 5)

    async def reader():
        await counter.inc()
        return await counter.load()

    result = simulate(machine(world, reader), cpus=1, timeline=True)
    assert steps_of(result, "reader") == [(10, "inc", 5, 6), (20, "load", 6, 6)]
    assert (result.outcome("reader"), result.end_ns, result.steps) == (6, 20, 2)
    assert result.ended is Ended.FINISHED
    assert result.busy_ns == (20,)


def test_initial_values_of_the_machine_come_first():
    world = World()
    counter = world.cell("counter", 5)

    async def reader():
        return await counter.load()

    booted = machine(world, reader)
    other = type(booted)(world, booted.threads, {counter: 7})
    assert simulate(other).outcome("reader") == 7


def test_sleeps_last_and_add_up():
    async def sleeper():
        for _ in range(4):
            await sleep(1000)

    result = simulate(machine(World(), sleeper), cpus=1)
    assert result.end_ns == 4 * (10 + 1000)
    assert result.busy_ns == (40,)


def test_cond_resched_lets_the_other_task_run():
    world = World()
    order = []

    def thread(name):
        async def run():
            for _ in range(2):
                order.append(name)
                await cond_resched()

        return Thread(name, run)

    simulate(machine(world, thread("a"), thread("b")), cpus=1)
    assert order == ["a", "b", "a", "b"]


def test_staggered_starts_depend_on_the_seed():
    def starts(seed):
        result = simulate(two_users(), seed=seed, stagger_ns=1000, timeline=True)
        return [next(s.time_ns for s in result.timeline if s.thread == name) for name in "ab"]

    assert starts(1) == starts(1) != starts(2)
    assert all(10 <= time <= 1100 for seed in range(20) for time in starts(seed))


def test_a_kernel_bug_ends_the_run_as_a_violation():
    world = World()
    count = world.cell("page._refcount", 0)

    async def buggy():
        await sleep(100)
        await count.get_reference()

    async def other():
        await sleep(10_000)

    result = simulate(machine(world, buggy, other), timeline=True)
    name, detail = result.violation
    assert result.ended is Ended.VIOLATION
    assert name == "kernel_bug"
    assert "already free (buggy, buggy() at test_driver.py:" in detail
    assert result.outcomes == (("buggy", RUNNING), ("other", RUNNING))
    assert result.end_ns == 120

    async def raises():
        await count.load()
        raise KernelBug("no")

    assert simulate(machine(World(), raises)).violation == ("kernel_bug", "no (raises)")


def test_the_time_asked_for_ends_the_run():
    world = World()

    async def endless():
        while True:
            await world.cell("x", 0).inc()

    result = simulate(machine(world, endless), until_ns=1_000)
    assert (result.ended, result.end_ns, result.steps) == (Ended.UNTIL, 1_000, 100)
    assert result.outcome("endless") is RUNNING
    assert result.busy_ns == (1_000, 0)


def test_an_error_of_a_thread_comes_out_as_it_is():
    async def wrong():
        await sleep(1)
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        simulate(machine(World(), wrong))


def test_a_cost_model_is_asked_for_every_attempt():
    asked_for = []

    def cost(step, cpu, _now, _context):
        asked_for.append((step.word, cpu))
        return 100 if step.word == "lock" else 1

    result = simulate(two_users(inside=1), cpus=2, cost=cost)
    assert [word for word, _ in asked_for].count("lock") == 3  # `b` was blocked once
    assert {cpu for _, cpu in asked_for} == {0, 1}
    assert result.end_ns == 100 + 1 + 1 + 100 + 1 + 1


def test_many_cpus_run_at_once_and_one_runs_one_after_the_other():
    def run(cpus):
        world = World()
        threads = [Thread(f"t[{i}]", spinner(world.lock(SpinLock, f"lock[{i}]"), 1, 8)) for i in range(8)]
        return simulate(machine(world, *threads), cpus=cpus).end_ns

    assert run(8) == run(16) == 100
    assert run(1) == 800
    assert run(4) == 200


def test_flat_cost_may_be_a_fraction():
    world = World()

    async def reader():
        await world.cell("x", 0).load()

    assert simulate(machine(world, reader), cost=FlatCost(0.5)).end_ns == 0.5


def test_a_step_with_several_alternatives_takes_one_from_the_seed():
    world = World()
    cell = world.cell("cell", 0)

    def either(old):
        return ((old, "kept"), (old + 1, "raised"))

    async def chooser():
        return [await Step("either", cell, Access.WRITE, either) for _ in range(40)]

    result = simulate(machine(world, chooser), timeline=True)
    assert set(result.outcome("chooser")) == {"kept", "raised"}
    assert result.timeline[-1].new == result.outcome("chooser").count("raised")
