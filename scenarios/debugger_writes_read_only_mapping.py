"""A debugger writes /proc/PID/mem at a shared mapping that is read-only.

FOLL_FORCE gets past the protection of a private mapping, for it makes a copy; of a shared one there is none to make.
It is refused, whether or not the file is sealed yet, and the seal is granted once the mapping is gone.

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
    PROT_READ,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS


async def setup(sys: Syscalls) -> tuple[int, int]:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    return fd, await sys.mmap(fd, PROT_READ, MAP_SHARED)


async def owner(sys: Syscalls, shared: tuple[int, int]) -> int:
    return await sys.munmap(shared[1])


async def writer(sys: Syscalls, shared: tuple[int, int]) -> int:
    return await sys.mem_write(shared[1], fill(b"late"), owner)


async def sealer(sys: Syscalls, shared: tuple[int, int]) -> int:
    return await sys.add_seals(shared[0], F_SEAL_WRITE)


def the_write_is_refused(writer: int) -> bool:
    return writer == -EIO


def seal_granted(sealer: int) -> bool:
    return sealer == 0


def seal_refused(sealer: int) -> bool:
    return sealer == -EBUSY


scenario = Scenario(
    question="mapping",
    sibling="process_vm_write_outlives_munmap",
    setup=setup,
    threads=(owner, process(writer), process(sealer)),
    always=(the_write_is_refused,),
    sometimes=(seal_granted, seal_refused),
    expect={OTHERS: HOLDS},
)
