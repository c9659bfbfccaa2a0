"""madvise(MADV_DONTNEED) empties the page table before munmap() looks there for pinned pages.

As `dio_completes_after_seal`, but when the mapping goes no PTE leads to the page any more.  A design that settles with
the pins at munmap() has to find them otherwise than through the page table.

    reader    reads from a slow device into the mapped memfd, madvise(MADV_DONTNEED), unmaps it
    sealer    adds F_SEAL_WRITE
"""

from __future__ import annotations

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EBUSY,
    F_SEAL_WRITE,
    MADV_DONTNEED,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Device,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS, VIOLATED

SLOW = Device("slow")


async def setup(sys: Syscalls) -> tuple[int, int]:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    return fd, await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)


async def reader(sys: Syscalls, shared: tuple[int, int]) -> int:
    await sys.submit_direct_read(SLOW, shared[1], fill(b"late"))
    dropped = await sys.madvise(shared[1], PAGE_SIZE, MADV_DONTNEED)
    await sys.munmap(shared[1])
    return dropped


async def sealer(sys: Syscalls, shared: tuple[int, int]) -> int:
    return await sys.add_seals(shared[0], F_SEAL_WRITE)


def the_page_is_dropped(reader: int) -> bool:
    return reader == 0


def seal_granted(sealer: int) -> bool:
    return sealer == 0


def seal_refused(sealer: int) -> bool:
    return sealer == -EBUSY


scenario = Scenario(
    question="seal",
    setup=setup,
    threads=(reader, sealer),
    devices=(SLOW,),
    always=(the_page_is_dropped,),
    sometimes=(seal_granted, seal_refused),
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
