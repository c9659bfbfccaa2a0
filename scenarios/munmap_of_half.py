"""Half of a mapping goes, then the other half, while a device fills a page of each.

As `dio_into_two_pages`, but unmapped in two calls: the mapping is split, each half counts while it is there, and what
outlives the first half must not be forgotten when the second goes.

    reader    unmaps the first page of its buffer, then the second
    sealer    adds F_SEAL_WRITE
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EBUSY,
    F_SEAL_WRITE,
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


@attrs.frozen
class Shared:
    fd: int
    buffer: int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig", pages=2))
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED, 2 * PAGE_SIZE)
    await sys.submit_direct_read(SLOW, buffer, fill(b"late", pages=2))
    return Shared(fd, buffer)


async def reader(sys: Syscalls, shared: Shared) -> tuple[int, int]:
    return await sys.munmap(shared.buffer), await sys.munmap(shared.buffer + PAGE_SIZE)


async def sealer(sys: Syscalls, shared: Shared) -> int:
    return await sys.add_seals(shared.fd, F_SEAL_WRITE)


def seal_granted(sealer: int) -> bool:
    return sealer == 0


def seal_refused(sealer: int) -> bool:
    return sealer == -EBUSY


scenario = Scenario(
    question="seal",
    setup=setup,
    threads=(reader, sealer),
    devices=(SLOW,),
    sometimes=(seal_granted, seal_refused),
    expect={
        OTHERS: HOLDS,
        "sealing_v2": VIOLATED,
        "delayed_unmap_mutex": VIOLATED,
        "delayed_unmap_irq_lock": VIOLATED,
        "delayed_unmap_look_first": VIOLATED,
    },
)
