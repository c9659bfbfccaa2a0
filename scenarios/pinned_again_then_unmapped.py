"""A page is pinned again just as its last pin is given back, and unmapped then: whoever pays must not pay for both.

As `two_reads_of_one_page`, but the second read begins when the first is about to end, and the mapping goes after that.
A design that lowers a count of pins and takes what is owed in two steps takes in the second what was left for another.

    reader    reads once more into the page that a device fills, from another device, unmaps it
    sealer    adds F_SEAL_WRITE
"""

from __future__ import annotations

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
OTHER = Device("other")


async def setup(sys: Syscalls) -> tuple[int, int]:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.submit_direct_read(SLOW, buffer, fill(b"late"))
    return fd, buffer


async def reader(sys: Syscalls, shared: tuple[int, int]) -> int:
    await sys.submit_direct_read(OTHER, shared[1], fill(b"last"))
    return await sys.munmap(shared[1])


async def sealer(sys: Syscalls, shared: tuple[int, int]) -> int:
    return await sys.add_seals(shared[0], F_SEAL_WRITE)


def seal_granted(sealer: int) -> bool:
    return sealer == 0


def seal_refused(sealer: int) -> bool:
    return sealer == -EBUSY


scenario = Scenario(
    question="seal",
    setup=setup,
    threads=(reader, sealer),
    devices=(SLOW, OTHER),
    sometimes=(seal_granted, seal_refused),
    expect={
        OTHERS: HOLDS,
        "sealing_v2": VIOLATED,
        "writable_user_pages_slow": VIOLATED,
        "delayed_unmap": VIOLATED,  # as all that take the debt after the last pin
        "delayed_unmap_mutex": VIOLATED,
        "delayed_unmap_irq_lock": VIOLATED,
        "delayed_unmap_irqsave": VIOLATED,
        "delayed_unmap_look_first": VIOLATED,
    },
)
