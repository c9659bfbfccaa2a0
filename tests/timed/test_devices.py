"""Devices, their delays and their interrupts in the timed driver.  A step costs 10 ns throughout."""

from __future__ import annotations

import pytest

from mmsim.cells import SpinLock, World
from mmsim.steps import Context, choose
from mmsim.threads import Thread
from mmsim.timed import Ended, Exponential, Fixed, Never, simulate
from mmsim.verdict import WAITING
from tests.timed.toys import asked, device, done, machine, steps_of


def test_a_device_answers_after_its_delay():
    world = World()
    disk = device(world)
    request = world.cell("disk.request", "none")

    async def user():
        await request.store("asked")
        await request.wait_until(done)

    result = simulate(machine(world, user, disk), cpus=1, delays={"disk": Fixed(500)}, timeline=True)
    # store 10; request taken at once, on no CPU; 500 later the interrupt: add at 520, store at 530; user looks at 540
    assert [(s.time_ns, s.cpu, s.word) for s in result.timeline if s.thread == "disk"] == [
        (10, None, "wait_until"),
        (520, 0, "add"),
        (530, 0, "store"),
    ]
    assert result.end_ns == 540
    assert result.outcome("disk") is WAITING
    assert result.ended is Ended.FINISHED


def test_a_device_that_never_answers_is_no_deadlock():
    world = World()
    disk = device(world)
    request = world.cell("disk.request", "none")

    async def user():
        await request.store("asked")
        await request.wait_until(done)

    result = simulate(machine(world, user, disk), delays={"disk": Never()})
    assert result.ended is Ended.SILENT
    assert result.outcomes == (("user", WAITING), ("disk", WAITING))
    assert [str(b) for b in result.blocked] == ["user waits for disk.request (wait_until), since 0.020 µs"]


def test_a_delay_goes_to_all_copies_of_a_device_or_to_one():
    def run(**delays):
        world = World()

        def user(name):
            async def ask():
                await world.cell(f"{name}.request", "none").store("asked")
                await world.cell(f"{name}.request", "none").wait_until(done)

            return ask

        names = ["user[0].disk", "user[1].disk"]
        users = [Thread(f"user of {name}", user(name)) for name in names]
        given = {name.replace("_", "["): delay for name, delay in delays.items()}
        return simulate(machine(world, *users, *(device(world, name) for name in names)), cpus=4, delays=given).end_ns

    assert run(disk=Fixed(500)) == 540
    world = World()
    slow = device(world, "user[1].disk")

    async def user():
        await world.cell("user[1].disk.request", "none").store("asked")
        await world.cell("user[1].disk.request", "none").wait_until(done)

    delays = {"disk": Fixed(1), "user[1].disk": Fixed(700)}
    assert simulate(machine(world, user, slow), delays=delays).end_ns == 740


def test_an_interrupt_comes_between_two_steps_of_a_task():
    world = World()
    disk = device(world, steps=2)
    request = world.cell("disk.request", "none")

    async def user():
        await request.store("asked")
        for _ in range(10):
            await world.cell("x", 0).inc()

    result = simulate(machine(world, user, disk), cpus=1, delays={"disk": Fixed(35)}, timeline=True)
    # due at 45, in the midst of a step that ends at 50; the interrupt's two steps end at 60 and 70
    assert [t for t, *_ in steps_of(result, "disk")] == [10, 60, 70]
    assert [t for t, *_ in steps_of(result, "user")][4:7] == [50, 80, 90]


def test_an_interrupt_waits_while_interrupts_are_off():
    world = World()
    lock = world.lock(SpinLock, "queue.lock")
    request = world.cell("disk.request", "none")

    async def serve():
        await request.wait_until(asked)
        async with lock:
            await request.store("done")

    async def user():
        await request.store("asked")
        async with lock.irqsave():
            for _ in range(5):
                await request.load()
        await request.wait_until(done)

    disk = Thread("disk", serve, Context.HARDIRQ, silent=True)
    result = simulate(machine(world, user, disk), cpus=1, delays={"disk": Fixed(5)}, timeline=True)
    assert result.ended is Ended.FINISHED
    assert steps_of(result, "user")[7][:2] == (80, "unlock")
    assert steps_of(result, "disk")[1][:2] == (90, "lock")


def test_a_lock_that_an_interrupt_takes_but_a_task_does_not_protect_is_a_deadlock():
    world = World()
    lock = world.lock(SpinLock, "queue.lock")
    request = world.cell("disk.request", "none")

    async def serve():
        await request.wait_until(asked)
        async with lock:
            await request.store("done")

    async def user():
        await request.store("asked")
        async with lock:
            for _ in range(5):
                await request.load()

    disk = Thread("disk", serve, Context.HARDIRQ, silent=True)
    result = simulate(machine(world, user, disk), cpus=1, delays={"disk": Fixed(15)})
    assert result.ended is Ended.DEADLOCK
    assert ("disk", "queue.lock", ("user",)) in [(b.thread, b.cell, b.holders) for b in result.blocked]


def test_an_interrupt_borrows_the_cpu_of_a_task_that_spins():
    world = World()
    disk = device(world)
    request = world.cell("disk.request", "none")

    async def user():
        await request.store("asked")
        await request.spin_until(done)
        return "saw it"

    result = simulate(machine(world, user, disk), cpus=1, delays={"disk": Fixed(500)})
    assert result.outcome("user") == "saw it"
    assert result.end_ns == 540


def drawing(count=20):
    world = World()
    disk = device(world)
    request = world.cell("disk.request", "none")

    async def user():
        picks = []
        for _ in range(count):
            await request.store("asked")
            await request.wait_until(done)
            picks.append(await choose(5))
        return tuple(picks)

    return machine(world, user, disk)


def test_one_seed_one_run_and_another_seed_another():
    def run(seed):
        return simulate(drawing(), seed=seed, delays={"disk": Exponential(10_000)}, timeline=True)

    assert run(1) == run(1)
    assert run(1).end_ns != run(2).end_ns
    assert run(1).outcome("user") != run(2).outcome("user")


def test_exponential_delays_have_their_mean():
    result = simulate(drawing(4000), delays={"disk": Exponential(100_000)})
    assert result.end_ns / 4000 == pytest.approx(100_000, rel=0.05)
