"""Where the steps of a timeline were made: functions, lines, system calls."""

from __future__ import annotations

from mmsim.cells import Mutex, World
from mmsim.report.timeline import timeline_text
from mmsim.steps import sleep
from mmsim.threads import Thread
from mmsim.timed import simulate
from tests.timed.toys import device, done, machine

KERNEL = """
class SimSyscalls:
    def __init__(self, count, data, lock, request):
        self.count, self.data, self.lock, self.request = count, data, lock, request

    async def munmap(self, address, length=4096):
        await self._unmap(address)
        return 0

    async def _unmap(self, address):
        async with self.lock:
            await self.count.dec()

    async def add_seals(self, fd, seals):
        await self.count.load()
        return await self.count.cmpxchg(5, 0)

    async def wait_for(self, io):
        await self.request.store("asked")
        return await self.request.wait_until(done)
"""


def run(**options):
    world = World()
    space = {"done": done}
    exec(compile(KERNEL, "/somewhere/mmsim/kernel/entry/memory.py", "exec"), space)
    sys = space["SimSyscalls"](
        world.cell("inode.i_mmap_writable", 1),
        world.cell("page1.data", b"old " * 1024),
        world.lock(Mutex, "mm.mmap_lock"),
        world.cell("disk.request", "none"),
    )

    async def reader():
        await sys.munmap(0x1000)
        await sys.munmap(0x2000, 8192)
        await sleep(100)
        await sys.wait_for(None)

    async def sealer():
        await sleep(15)
        await sys.add_seals(3, 8)
        await sys.data.store(b"new!" * 1024)

    disk = device(world)
    return simulate(machine(world, reader, sealer, disk), timeline=True, **options)


def test_calls_are_timed_from_entry_to_return():
    result = run()
    # reader: munmap 3 steps, munmap 3 steps, sleep until 170, then the disk's 100 µs and its two steps
    assert [(c.thread, c.name, c.start_ns, c.end_ns, c.steps) for c in result.system_calls] == [
        ("reader", "munmap", 0, 30, 3),
        ("sealer", "add_seals", 25, 45, 2),
        ("reader", "munmap", 30, 60, 3),
        ("reader", "wait_for", 170, 100_210, 2),
    ]
    assert dict(result.system_calls[0].arguments) == {"address": 0x1000, "length": 4096}


def test_steps_know_their_function():
    first = run().timeline[0]
    assert (first.function, first.file, first.line, first.depth) == ("_unmap", "memory.py", 11, 1)
    assert (first.thread, first.word, first.cell, first.call) == ("reader", "lock", "mm.mmap_lock", 0)


def test_a_call_under_way_at_the_end_has_no_end():
    result = run(until_ns=400)
    assert result.system_calls[-1].name == "wait_for"
    assert result.system_calls[-1].end_ns is None
    assert "did not return" in timeline_text(result)


def test_without_a_timeline_the_result_is_the_same():
    world = World()

    async def user():
        await world.cell("x", 0).inc()

    booted = machine(world, user)
    quiet, told = simulate(booted), simulate(booted, timeline=True)
    assert (quiet.timeline, quiet.system_calls) == ((), ())
    assert (quiet.outcomes, quiet.end_ns, quiet.locks) == (told.outcomes, told.end_ns, told.locks)


TEXT = """\
     µs  cpu  reader                        sealer                        disk
              ------                        ------                        ----
  0.000       munmap()  [0.030 µs]
  0.010    0    _unmap(): lock mm.mmap_lock
  0.010    1                                sealer(): sleep
  0.020    0    _unmap(): inode.i_mmap_writable 1 -> 0
  0.025                                     fcntl(F_ADD_SEALS, F_SEAL_WRITE)  [0.020 µs]
  0.030    0    _unmap(): unlock mm.mmap_lock
"""


def test_the_text():
    lines = timeline_text(run(), 110).splitlines(keepends=True)
    assert "".join(lines[:8]) == TEXT
    assert '  0.055    1                                sealer(): page1.data "old " -> "new!"\n' in lines
    assert lines[-4:] == [
        "100.210 µs, 17 steps: every thread finished\n",
        "reader returned None\n",
        "sealer returned None\n",
        "left out: 1 step that only looked\n",
    ]


def test_wide_and_narrow():
    for width in (40, 72, 132):
        for all_steps in (False, True):
            text = timeline_text(run(), width, all_steps=all_steps)
            assert ("load inode.i_mmap_writable" in " ".join(text.split())) == all_steps
            if width > 60:
                assert max(map(len, text.splitlines())) <= width


def test_many_threads_have_names_instead_of_columns():
    world = World()

    async def user():
        await world.cell("x", 0).inc()

    text = timeline_text(simulate(machine(world, *(Thread(f"user[{i}]", user) for i in range(20))), timeline=True), 80)
    assert "thread" in text.splitlines()[0]
    assert all(f"user[{i}]" in text for i in range(20))
