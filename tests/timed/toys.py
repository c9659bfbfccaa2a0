"""Small machines for the tests of the timed driver: a toy disk, and threads written in a line or two."""

from __future__ import annotations

from mmsim.cells import SpinLock, World
from mmsim.steps import Context
from mmsim.threads import Machine, Thread


def idle(value):
    return value == 0


def asked(value):
    return value == "asked"


def done(value):
    return value == "done"


def machine(world, *threads):
    """Threads from coroutine functions (tasks, by their names) and from ready-made `Thread`s."""
    made = tuple(t if isinstance(t, Thread) else Thread(t.__name__, t) for t in threads)
    return Machine(world, made)


def device(world, name="disk", steps=2):
    """A silent hardirq thread: takes a request, touches a page `steps` times, answers, and waits for the next."""
    request = world.cell(f"{name}.request", "none")
    page = world.cell(f"{name}.page", 0)

    async def serve():
        while True:
            await request.wait_until(asked)
            for _ in range(steps - 1):
                await page.add(1)
            await request.store("done")

    return Thread(name, serve, Context.HARDIRQ, silent=True)


def spinner(lock, times, inside):
    """A thread function that takes the lock `times` times and makes `inside` steps under it."""

    async def user():
        for _ in range(times):
            async with lock:
                for _ in range(inside):
                    await lock.load()

    return user


def two_users(cpus_world=None, times=1, inside=3):
    world = cpus_world or World()
    lock = world.lock(SpinLock, "inode.lock")
    user = spinner(lock, times, inside)
    return machine(world, Thread("a", user), Thread("b", user))


def steps_of(result, thread):
    """(time, word, old value, new value) of every step of a thread."""
    return [(s.time_ns, s.word, s.old, s.new) for s in result.timeline if s.thread == thread]
