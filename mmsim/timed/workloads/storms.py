"""munmap() and exit() with direct I/O under way: what a design makes them wait for, and what it leaves behind.

In the storm of munmap() every process maps its part of one file, submits a read, unmaps, waits for the read, and does
it again.  In the storm of exits eight times as many processes as asked for do so once and exit; exit_aio() waits for
the I/O under every design.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from mmsim.scenario import Scenario, copies
from mmsim.syscalls import MAP_SHARED, MFD_ALLOW_SEALING, PAGE_SIZE, PROT_READ, PROT_WRITE, Syscalls
from mmsim.timed.workloads.probe import Metered
from mmsim.timed.workloads.workload import DISK, Load, Workload

EXITS = 8
"""How many processes exit for each that was asked for."""


async def unmapper(sys: Metered, shared: tuple[int, int]) -> None:
    """Map, read, unmap before the data is there."""
    fd, pages = shared
    length = pages * PAGE_SIZE
    while True:
        buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED, length, sys.index * length)
        io = await sys.submit_direct_read(DISK, buffer, b"u" * length)
        await sys.munmap(buffer, length)
        await sys.wait_for(io)


async def leaver(sys: Metered, shared: tuple[int, int]) -> None:
    """Map, read, exit before the data is there."""
    fd, pages = shared
    length = pages * PAGE_SIZE
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED, length, sys.index * length)
    await sys.submit_direct_read(DISK, buffer, b"e" * length)
    await sys.exit()


def unmapping(load: Load) -> Scenario:
    """As many processes as asked for, each with a disk of its own."""
    return Scenario(
        setup=_file(load.processes, load.pages), threads=(copies(load.processes, unmapper, devices=(DISK,)),)
    )


def leaving(load: Load) -> Scenario:
    """Eight times as many, which share a disk."""
    processes = EXITS * load.processes
    return Scenario(setup=_file(processes, load.pages), threads=(copies(processes, leaver),), devices=(DISK,))


def _file(processes: int, pages: int) -> Callable[..., Coroutine[Any, Any, tuple[int, int]]]:
    async def setup(sys: Syscalls) -> tuple[int, int]:
        fd = await sys.memfd_create("storm", MFD_ALLOW_SEALING)
        await sys.ftruncate(fd, processes * pages * PAGE_SIZE)
        return fd, pages

    return setup


munmap_storm = Workload(
    "munmap_storm", "munmap() while a direct read is under way", "munmap", ("munmap", "mmap"), unmapping
)
exit_storm = Workload(
    "exit_storm",
    "processes that exit while a direct read is under way",
    "exit",
    ("exit",),
    leaving,
    ends=True,
)
