"""process_vm_writev() writes into a page that its owner has unmapped meanwhile, and the file is being sealed.

The pages are pinned under the owner's mmap_lock and written without it: a pin like a device's, but it is gone when the
call returns.  `debugger_writes_until_munmap` differs in that the lock is held all along.

    owner     unmaps the memfd
    writer    (own process) writes the owner's mapping with process_vm_writev()
    sealer    (own process) adds F_SEAL_WRITE
"""

from __future__ import annotations

from mmsim.scenario import Scenario, process
from mmsim.syscalls import (
    EBUSY,
    EFAULT,
    F_SEAL_WRITE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS, VIOLATED


async def setup(sys: Syscalls) -> tuple[int, int]:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    return fd, await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)


async def owner(sys: Syscalls, shared: tuple[int, int]) -> int:
    return await sys.munmap(shared[1])


async def writer(sys: Syscalls, shared: tuple[int, int]) -> int:
    return await sys.process_vm_writev(owner, shared[1], fill(b"late"))


async def sealer(sys: Syscalls, shared: tuple[int, int]) -> int:
    return await sys.add_seals(shared[0], F_SEAL_WRITE)


def seal_granted_after_the_write(writer: int, sealer: int) -> bool:
    return writer == PAGE_SIZE and sealer == 0


def nothing_left_to_write(writer: int) -> bool:
    return writer == -EFAULT


def seal_refused(sealer: int) -> bool:
    return sealer == -EBUSY


scenario = Scenario(
    question="seal",
    setup=setup,
    threads=(owner, process(writer), process(sealer)),
    sometimes=(seal_granted_after_the_write, nothing_left_to_write, seal_refused),
    expect={
        OTHERS: HOLDS,
        "sealing_v2": VIOLATED,
        "delayed_unmap_look_first": VIOLATED,
    },
)
