"""A process of two threads, copies with a device of their own, and a call that waits for another process.

giver, taker      threads of one process: what one writes the other waits for
user              two processes alike
"""

from __future__ import annotations

from mmsim.scenario import Scenario, copies, process
from mmsim.syscalls import MAP_SHARED, MFD_ALLOW_SEALING, PAGE_SIZE, PROT_READ, PROT_WRITE, Device, Syscalls, fill
from mmsim.verdict import HOLDS

DISK = Device("disk")


async def setup(sys: Syscalls) -> tuple[int, int, int]:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig", 2))
    end, start = await sys.pipe()
    return fd, end, start


async def taker(sys: Syscalls, shared: tuple[int, int, int]) -> bytes | int:
    return await sys.read(shared[1], 4)


async def giver(sys: Syscalls, shared: tuple[int, int, int]) -> int:
    return await sys.write(shared[2], b"news")


async def user(sys: Syscalls, shared: tuple[int, int, int]) -> int:
    window = await sys.mmap(shared[0], PROT_READ | PROT_WRITE, MAP_SHARED, PAGE_SIZE, sys.index * PAGE_SIZE)
    io = await sys.submit_direct_read(DISK, window, fill(b"zero" if sys.index == 0 else b"one "))
    await sys.wait_for(io)
    await sys.pread(shared[0], 2 * PAGE_SIZE)
    await sys.exit()
    return 0


scenario = Scenario(
    setup=setup,
    threads=(process(taker, giver), copies(2, user, devices=(DISK,))),
    expect={"wait_for_pins": HOLDS},
)
