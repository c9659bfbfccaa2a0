"""A server that keeps `depth` direct reads under way, all into one mapped memfd, and takes them in order.

Every process has a disk of its own, which serves them all at the same time, or as many as it has channels.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from mmsim.scenario import Scenario, copies
from mmsim.syscalls import MAP_SHARED, MFD_ALLOW_SEALING, PAGE_SIZE, PROT_READ, PROT_WRITE, Device, Syscalls
from mmsim.timed.workloads.probe import Metered
from mmsim.timed.workloads.workload import Load, Workload

BLOCK = b"b" * PAGE_SIZE


async def server(sys: Metered, shared: tuple[int, int, tuple[Device, ...]]) -> None:
    """Submit, wait for the oldest, submit again."""
    fd, depth, disks = shared
    base = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED, depth * PAGE_SIZE, sys.index * depth * PAGE_SIZE)
    under_way: deque[tuple[float, Any]] = deque()
    number = 0
    while True:
        while len(under_way) < depth:
            disk, page = disks[number % len(disks)], base + number % depth * PAGE_SIZE
            under_way.append((sys.now, await sys.submit_direct_read(disk, page, BLOCK)))
            number += 1
        begin, io = under_way.popleft()
        sys.since("io", begin, await sys.wait_for(io))


def serving(load: Load) -> Scenario:
    """As many servers as processes, each with its part of the file."""

    async def setup(sys: Syscalls) -> tuple[int, int, tuple[Device, ...]]:
        fd = await sys.memfd_create("buffers", MFD_ALLOW_SEALING)
        await sys.ftruncate(fd, load.processes * load.depth * PAGE_SIZE)
        return fd, load.depth, load.disks

    return Scenario(setup=setup, threads=(copies(load.processes, server, devices=load.disks),))


dio_server = Workload(
    "dio_server",
    "direct reads into one mapped file, several under way in every process",
    "io",
    ("submit_direct_read", "io"),
    serving,
)
