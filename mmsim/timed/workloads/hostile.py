"""A client that pins pages and never lets them go, by a read from a device that it keeps from answering.

The victim was given the file and wants it sealed; it tries again and again, 10 ms after each refusal.  `pages` is how
many the file has, all but the client's one at rest.  A memfd of the victim's own is sealed in between, to show what is
not to suffer.
"""

from __future__ import annotations

from mmsim.cells import Cell
from mmsim.scenario import Scenario, process
from mmsim.steps import sleep
from mmsim.syscalls import (
    F_SEAL_WRITE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Syscalls,
)
from mmsim.timed.delays import Never
from mmsim.timed.workloads.probe import Metered
from mmsim.timed.workloads.workload import DISK, Load, Workload

PAUSE_NS = 10_000_000


def unmapped(sys: Metered) -> Cell[bool]:
    """Whether the client has said that it is done with the file."""
    cell: Cell[bool] = sys.k.world.cell("client.done", False)
    return cell


def told(value: bool) -> bool:
    """Whether it has."""
    return value


async def client(sys: Metered, shared: tuple[int, int]) -> None:
    """Pin, unmap, and say that one is done."""
    fd, _ = shared
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED, PAGE_SIZE, 0)
    await sys.submit_direct_read(DISK, buffer, b"h" * PAGE_SIZE)
    await sys.munmap(buffer, PAGE_SIZE)
    await unmapped(sys).store(True)


async def victim(sys: Metered, shared: tuple[int, int]) -> None:
    """Seal what the client had, then a file of one's own; again and again."""
    fd, pages = shared
    await unmapped(sys).wait_until(told)
    number = 0
    while True:
        begin = sys.now
        sys.since("seal shared", begin, await sys.add_seals(fd, F_SEAL_WRITE))
        own = await sys.memfd_create(f"own{number}", MFD_ALLOW_SEALING)
        number += 1
        await sys.ftruncate(own, pages * PAGE_SIZE)
        await sys.pwrite(own, b"o" * PAGE_SIZE)
        begin = sys.now
        sys.since("seal own", begin, await sys.add_seals(own, F_SEAL_WRITE))
        await sys.close(own)
        await sleep(PAUSE_NS)


def holding(load: Load) -> Scenario:
    """One client, one victim."""

    async def setup(sys: Syscalls) -> tuple[int, int]:
        fd = await sys.memfd_create("shared", MFD_ALLOW_SEALING)
        await sys.ftruncate(fd, load.pages * PAGE_SIZE)
        for page in range(load.pages):
            await sys.pwrite(fd, b"s" * PAGE_SIZE, page * PAGE_SIZE)
        return fd, load.pages

    return Scenario(setup=setup, threads=(process(client), process(victim)), devices=(DISK,))


hostile_client = Workload(
    "hostile_client",
    "a client holds a pin for ever, and a victim wants to seal",
    "seal shared",
    ("seal shared", "seal own"),
    holding,
    seconds=1.0,
    delay=Never(),
)
