"""A pinned page is unmapped for migration just as its mapping goes: munmap() finds a migration entry and no page.

Migration makes every PTE of the page a migration entry before it looks whether anybody else has a reference.  As
`dontneed_hides_a_pin`, a design that settles with the pins at munmap() has to find them otherwise than through the
page table, but here nobody has asked for the page to be dropped: compaction may do it to anybody.

    mover     moves the page that the device is about to write
    leaver    unmaps it, adds F_SEAL_WRITE
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EBUSY,
    F_SEAL_WRITE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PROT_READ,
    PROT_WRITE,
    Device,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS, VIOLATED

SLOW = Device("slow")


@attrs.frozen
class Shared:
    fd: int
    buffer: int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.submit_direct_read(SLOW, buffer, fill(b"late"))
    return Shared(fd, buffer)


async def mover(sys: Syscalls, shared: Shared) -> int:
    return await sys.move_pages(shared.buffer)


async def leaver(sys: Syscalls, shared: Shared) -> int:
    await sys.munmap(shared.buffer)
    return await sys.add_seals(shared.fd, F_SEAL_WRITE)


def seal_granted(leaver: int) -> bool:
    return leaver == 0


def pinned_and_not_moved(mover: int) -> bool:
    return mover == -EBUSY


scenario = Scenario(
    question="seal",
    setup=setup,
    threads=(mover, leaver),
    devices=(SLOW,),
    sometimes=(seal_granted, pinned_and_not_moved),
    expect={
        OTHERS: HOLDS,
        "sealing_v2": VIOLATED,
        "delayed_unmap": VIOLATED,  # as all of its family: munmap() finds no page
        "delayed_unmap_mutex": VIOLATED,
        "delayed_unmap_irq_lock": VIOLATED,
        "delayed_unmap_irqsave": VIOLATED,
        "delayed_unmap_look_first": VIOLATED,
        "delayed_unmap_sync": VIOLATED,
        "leftover_flag": VIOLATED,
    },
)
