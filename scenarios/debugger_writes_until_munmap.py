"""A debugger writes /proc/PID/mem at a shared writable mapping that is unmapped, then sealed.

The write holds the owner's mmap_lock until the page is given back, so munmap() waits for it and the counter tells the
whole truth: sealing needs not look at pins here.  `process_vm_write_outlives_munmap` differs in just that.

    owner     unmaps the memfd
    writer    (own process) writes the owner's memory through /proc/PID/mem
    sealer    (own process) adds F_SEAL_WRITE
"""

from __future__ import annotations

from mmsim.scenario import Scenario, process
from mmsim.syscalls import (
    EBUSY,
    EIO,
    F_SEAL_WRITE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS


async def setup(sys: Syscalls) -> tuple[int, int]:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    return fd, await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)


async def owner(sys: Syscalls, shared: tuple[int, int]) -> int:
    return await sys.munmap(shared[1])


async def writer(sys: Syscalls, shared: tuple[int, int]) -> int:
    return await sys.mem_write(shared[1], fill(b"late"), owner)


async def sealer(sys: Syscalls, shared: tuple[int, int]) -> int:
    return await sys.add_seals(shared[0], F_SEAL_WRITE)


def seal_granted_after_the_write(writer: int, sealer: int) -> bool:
    return writer == PAGE_SIZE and sealer == 0


def nothing_left_to_write(writer: int) -> bool:
    return writer == -EIO


def seal_refused(sealer: int) -> bool:
    return sealer == -EBUSY


scenario = Scenario(
    question="seal",
    sibling="process_vm_write_outlives_munmap",
    setup=setup,
    threads=(owner, process(writer), process(sealer)),
    sometimes=(seal_granted_after_the_write, nothing_left_to_write, seal_refused),
    expect={OTHERS: HOLDS},
)
