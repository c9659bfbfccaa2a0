"""process_vm_writev() writes to a private mapping of a memfd that is being sealed.

As `process_vm_write_outlives_munmap`, but the mapping is MAP_PRIVATE: what is pinned for writing is a copy, and the
file is nobody's business.

    owner     unmaps the memfd
    writer    (own process) writes the owner's mapping with process_vm_writev()
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
    PROT_WRITE,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS


async def setup(sys: Syscalls) -> tuple[int, int]:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    return fd, await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE)


async def owner(sys: Syscalls, shared: tuple[int, int]) -> int:
    return await sys.munmap(shared[1])


async def writer(sys: Syscalls, shared: tuple[int, int]) -> int:
    return await sys.process_vm_writev(owner, shared[1], fill(b"late"))


async def sealer(sys: Syscalls, shared: tuple[int, int]) -> int:
    return await sys.add_seals(shared[0], F_SEAL_WRITE)


def seal_granted_after_the_write(writer: int, sealer: int) -> bool:
    return writer == PAGE_SIZE and sealer == 0


def seal_refused(sealer: int) -> bool:
    return sealer == -EBUSY


scenario = Scenario(
    question="seal",
    sibling="process_vm_write_outlives_munmap",
    setup=setup,
    threads=(owner, process(writer), process(sealer)),
    sometimes=(seal_granted_after_the_write,),
    needless=(seal_refused,),
    expect={OTHERS: HOLDS},
)
