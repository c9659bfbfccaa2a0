"""A debugger writes /proc/PID/mem at a private read-only mapping of a memfd that is being sealed.

FOLL_FORCE writes in spite of the protection, into a copy that the first fault makes: the file stays as it was, sealed
or not.  `dirty_cow` is how this once went wrong.

    owner     unmaps the memfd
    writer    (own process) writes the owner's memory through /proc/PID/mem
    sealer    (own process) adds F_SEAL_WRITE
"""

from __future__ import annotations

from mmsim.scenario import Scenario, process
from mmsim.syscalls import (
    EBUSY,
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS


async def setup(sys: Syscalls) -> tuple[int, int]:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    return fd, await sys.mmap(fd, PROT_READ, MAP_PRIVATE)


async def owner(sys: Syscalls, shared: tuple[int, int]) -> int:
    return await sys.munmap(shared[1])


async def writer(sys: Syscalls, shared: tuple[int, int]) -> int:
    return await sys.mem_write(shared[1], fill(b"late"), owner)


async def sealer(sys: Syscalls, shared: tuple[int, int]) -> int:
    return await sys.add_seals(shared[0], F_SEAL_WRITE)


def seal_granted_after_the_write(writer: int, sealer: int) -> bool:
    return writer == PAGE_SIZE and sealer == 0


def seal_refused(sealer: int) -> bool:
    return sealer == -EBUSY


scenario = Scenario(
    question="mapping",
    sibling="process_vm_write_outlives_munmap",
    setup=setup,
    threads=(owner, process(writer), process(sealer)),
    sometimes=(seal_granted_after_the_write,),
    needless=(seal_refused,),
    expect={OTHERS: HOLDS},
)
