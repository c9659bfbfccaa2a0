"""The timed driver on machines small enough to work out every instant by hand.  A step costs 10 ns throughout."""

from __future__ import annotations

import pytest

from mmsim.cells import Mutex, RwSem, SpinLock, World
from mmsim.steps import Access, Context, KernelBug, Step, choose, cond_resched, sleep
from mmsim.threads import Thread
from mmsim.timed import RUNNING, Ended, Exponential, Fixed, FlatCost, LockUse, Never, simulate
from mmsim.verdict import WAITING
from tests.timed.toys import asked, device, done, idle, machine, spinner, two_users


def steps_of(result, thread):
    return [(s.time_ns, s.word, s.old, s.new) for s in result.timeline if s.thread == thread]


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


def test_a_spinlock_is_handed_over_and_its_waiting_counted():
    result = simulate(two_users(inside=3), cpus=2, timeline=True)
    # Both try at 10 ns and `a` wins: 3 loads, unlock at 50.  `b` is given the lock then, and pays for its step again.
    assert steps_of(result, "a")[0] == (10, "lock", 0, -1)
    assert steps_of(result, "a")[-1] == (50, "unlock", -1, 0)
    assert steps_of(result, "b")[0] == (60, "lock", 0, -1)
    assert result.end_ns == 100
    assert result.locks == (LockUse("lock", 2, 1, 40, 40),)
    assert result.busy_ns == (50, 100)  # `b` spun on its CPU all the while


def test_locks_go_round_in_the_order_of_arrival():
    world = World()
    lock = world.lock(SpinLock, "lock")
    order = []

    def user(name):
        async def run():
            for _ in range(3):
                async with lock:
                    order.append(name)
                    await lock.load()

        return Thread(name, run)

    simulate(machine(world, *map(user, "abc")), cpus=3)
    assert "".join(order) == "abcabcabc"


def test_a_reader_does_not_overtake_a_waiting_writer():
    world = World()
    sem = world.lock(RwSem, "mm.mmap_lock")
    order = []

    def thread(name, side, start_ns):
        async def run():
            await sleep(start_ns)
            async with side:
                order.append(name)
                await sleep(1000)

        return Thread(name, run)

    readers = [thread("early", sem.read(), 1), thread("beside", sem.read(), 2)]
    later = [thread("writer", sem, 100), thread("late", sem.read(), 200), thread("latest", sem.read(), 300)]
    result = simulate(machine(world, *readers, *later), cpus=5)
    assert order == ["early", "beside", "writer", "late", "latest"]
    assert result.end_ns < 3 * 1100  # the readers were inside together


def test_who_sleeps_leaves_the_cpu_to_others():
    world = World()
    mutex = world.lock(Mutex, "mutex")

    async def owner():
        async with mutex:
            await sleep(1000)

    async def waiter():
        async with mutex:
            pass

    async def bystander():
        await world.cell("x", 0).load()
        return "ran"

    result = simulate(machine(world, owner, waiter, bystander), cpus=1, timeline=True)
    # owner: lock 10, sleep 20..1020; waiter tries at 30 and sleeps; bystander loads at 40
    assert steps_of(result, "bystander") == [(40, "load", 0, 0)]
    assert result.ended is Ended.FINISHED
    assert result.locks[0].wait_ns == 1030 - 30


def test_who_spins_keeps_the_cpu():
    world = World()
    flag = world.cell("flag", 0)

    async def spins():
        await flag.spin_until(done)

    async def setter():
        await flag.store("done")

    stuck = simulate(machine(world, spins, setter), cpus=1)
    assert stuck.ended is Ended.DEADLOCK
    assert [(b.thread, b.cell) for b in stuck.blocked] == [("spins", "flag"), ("setter", "a CPU")]
    assert stuck.outcomes == (("spins", WAITING), ("setter", WAITING))
    assert simulate(machine(world, spins, setter), cpus=2).ended is Ended.FINISHED


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


def test_a_timed_wait_gives_up_or_is_woken():
    world = World()
    flag = world.cell("flag", 0)

    async def waiter():
        return await flag.wait_until_timeout(done), await flag.wait_until_timeout(idle)

    async def setter():
        await sleep(300)
        await flag.store("done")

    result = simulate(machine(world, waiter, setter), timeout_ns=1000)
    assert result.outcome("waiter") == (True, False)
    # woken at 320 by the store, looks for 10; the second wait begins at 340, and looks again when its time is over
    assert result.end_ns == 340 + 1000 + 10


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


def test_staggered_starts_depend_on_the_seed():
    def starts(seed):
        result = simulate(two_users(), seed=seed, stagger_ns=1000, timeline=True)
        return [next(s.time_ns for s in result.timeline if s.thread == name) for name in "ab"]

    assert starts(1) == starts(1) != starts(2)
    assert all(10 <= time <= 1100 for seed in range(20) for time in starts(seed))


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


def test_a_deadlock_names_the_locks_and_their_holders():
    world = World()
    one, two = world.lock(Mutex, "inode.i_mutex"), world.lock(Mutex, "mm.mmap_lock")

    def thread(name, first, second):
        async def run():
            async with first:
                await first.load()
                async with second:
                    return "through"

        return Thread(name, run)

    result = simulate(machine(world, thread("a", one, two), thread("b", two, one)))
    assert result.ended is Ended.DEADLOCK
    assert result.outcomes == (("a", WAITING), ("b", WAITING))
    assert [str(b) for b in result.blocked] == [
        "a waits for mm.mmap_lock (lock), held by b, since 0.030 µs",
        "b waits for inode.i_mutex (lock), held by a, since 0.030 µs",
    ]


def test_a_watcher_of_a_lock_does_not_keep_others_from_taking_it():
    world = World()
    lock = world.lock(SpinLock, "lock")

    async def watcher():
        await lock.spin_until(lambda value: value != 0)

    async def owner():
        await sleep(100)
        async with lock:
            await lock.load()  # long enough for the watcher to look again

    assert simulate(machine(world, watcher, owner), cpus=2).ended is Ended.FINISHED


def test_a_watcher_that_looks_too_late_has_missed_it():
    world = World()
    flag = world.cell("flag", 0)

    async def watcher():
        await flag.wait_until(done)

    async def setter():
        await flag.store("done")
        await flag.store(0)

    assert simulate(machine(world, setter, watcher), cpus=1).ended is Ended.DEADLOCK


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
