"""Memory pressure: files are filled by slow direct I/O, unmapped and truncated, and the pages cannot be freed yet.

Each process keeps `depth` reads under way into a new mapping each, and truncates the file to nothing as soon as it has
unmapped it: what the truncation takes out of the page cache, and a pin holds, is memory that nobody can use.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from mmsim.scenario import Scenario, copies
from mmsim.syscalls import MAP_SHARED, MFD_ALLOW_SEALING, PAGE_SIZE, PROT_READ, PROT_WRITE, Device, Syscalls
from mmsim.timed.delays import Pareto
from mmsim.timed.workloads.probe import Metered
from mmsim.timed.workloads.workload import Load, Workload


async def filler(sys: Metered, shared: tuple[int, int, tuple[Device, ...]]) -> None:
    """Fill, unmap, truncate, and never wait for more than the oldest of `depth` reads."""
    pages, depth, disks = shared
    length = pages * PAGE_SIZE
    fd = await sys.memfd_create(f"leftover{sys.index}", MFD_ALLOW_SEALING)
    under_way: deque[Any] = deque()
    disk = 0
    while True:
        begin = sys.now
        await sys.ftruncate(fd, length)
        buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED, length, 0)
        under_way.append(await sys.submit_direct_read(disks[disk], buffer, b"l" * length))
        disk = (disk + 1) % len(disks)
        await sys.munmap(buffer, length)
        await sys.ftruncate(fd, 0)
        sys.since("round", begin)
        if len(under_way) >= depth:
            await sys.wait_for(under_way.popleft())


def filling(load: Load) -> Scenario:
    """As many processes as asked for, each with a disk of its own."""

    async def setup(_sys: Syscalls) -> tuple[int, int, tuple[Device, ...]]:
        return load.pages, load.depth, load.disks

    return Scenario(setup=setup, threads=(copies(load.processes, filler, devices=load.disks),))


leftovers = Workload(
    "leftovers",
    "pages that a slow device holds after they were unmapped and truncated",
    "round",
    ("round", "munmap", "ftruncate"),
    filling,
    delay=Pareto(200_000, 1.5),
)
