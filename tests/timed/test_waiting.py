"""Locks and waits in the timed driver, every instant worked out by hand.  A step costs 10 ns throughout."""

from __future__ import annotations

from mmsim.cells import Mutex, RwSem, SpinLock, World
from mmsim.steps import sleep
from mmsim.threads import Thread
from mmsim.timed import Ended, LockUse, simulate
from mmsim.verdict import WAITING
from tests.timed.toys import done, idle, machine, steps_of, two_users


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
