"""madvise(MADV_DONTNEED) takes a page out of the page table while another thread pins it.

It runs beside get_user_pages(), which holds mmap_lock for reading as well.  Whoever is second to look at the PTE sees
what the other did; afterwards the mapping is dropped and the file sealed.

    reader     reads from a slow device into the mapped memfd
    dropper    madvise(MADV_DONTNEED), unmaps it, adds F_SEAL_WRITE
"""

from __future__ import annotations

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EFAULT,
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
    window = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.store(window, fill(b"orig"))
    return fd, window


async def reader(sys: Syscalls, shared: tuple[int, int]) -> int:
    return await sys.wait_for(await sys.submit_direct_read(SLOW, shared[1], fill(b"late")))


async def dropper(sys: Syscalls, shared: tuple[int, int]) -> int:
    await sys.madvise(shared[1], PAGE_SIZE, MADV_DONTNEED)
    await sys.munmap(shared[1])
    return await sys.add_seals(shared[0], F_SEAL_WRITE)


def seal_granted_after_the_read(reader: int, dropper: int) -> bool:
    return reader == PAGE_SIZE and dropper == 0


def nothing_left_to_read_into(reader: int) -> bool:
    return reader == -EFAULT


scenario = Scenario(
    question="seal",
    setup=setup,
    threads=(reader, dropper),
    devices=(SLOW,),
    sometimes=(seal_granted_after_the_read, nothing_left_to_read_into),
    expect={
        OTHERS: HOLDS,
        "sealing_v2": VIOLATED,
        "writable_user_pages_slow": VIOLATED,
        "delayed_unmap": VIOLATED,  # as all of its family: munmap() finds no page
        "delayed_unmap_mutex": VIOLATED,
        "delayed_unmap_irq_lock": VIOLATED,
        "delayed_unmap_irqsave": VIOLATED,
        "delayed_unmap_look_first": VIOLATED,
        "delayed_unmap_sync": VIOLATED,
        "leftover_flag": VIOLATED,
    },
)
