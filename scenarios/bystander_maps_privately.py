"""A bystander maps and drops the page privately while the seal compares its reference count with its map count.

A direct read is in flight when the threads begin, and its own mapping is gone.  The check of v3.17 loads `_refcount`
and `_mapcount` one after the other; a mapping that comes or goes between the two loads makes up for the device's
reference, the page looks clean, and it is never looked at again.

    bystander    (own process) maps the memfd privately and read-only, looks at it, unmaps it
    sealer       adds F_SEAL_WRITE
"""

from __future__ import annotations

from mmsim.scenario import Scenario, process
from mmsim.syscalls import (
    F_SEAL_WRITE,
    MAP_PRIVATE,
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


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.submit_direct_read(SLOW, buffer, fill(b"late"))
    await sys.munmap(buffer)
    return fd


async def bystander(sys: Syscalls, fd: int) -> None:
    window = await sys.mmap(fd, PROT_READ, MAP_PRIVATE)
    await sys.load(window)
    await sys.munmap(window)


async def sealer(sys: Syscalls, fd: int) -> int:
    return await sys.add_seals(fd, F_SEAL_WRITE)


def seal_granted(sealer: int) -> bool:
    return sealer == 0


scenario = Scenario(
    question="references",
    setup=setup,
    threads=(process(bystander), sealer),
    devices=(SLOW,),
    sometimes=(seal_granted,),
    expect={
        OTHERS: HOLDS,
        "sealing_v2": VIOLATED,
        "wait_for_pins": VIOLATED,
        "page_replacement": VIOLATED,
        "delayed_unmap_mutex": VIOLATED,
        "delayed_unmap_irq_lock": VIOLATED,
        "refuse_if_pinned": VIOLATED,
    },
    model_only=True,  # it would weigh a check that today's kernels rely on; their maintainers come first
)
