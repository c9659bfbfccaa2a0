"""A page has more than 1024 references, all of them of readers who map it, and nobody has it pinned.

A count of references in which each pin adds 1024 cannot tell these apart.  Nobody could write, so a refusal of the
seal is needless; and it would last as long as the mappings do, which need no right to write the file.

    sealer    adds F_SEAL_WRITE
"""

from __future__ import annotations

from mmsim.scenario import Scenario
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

MANY = 1024


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    for _ in range(MANY):
        await sys.load(await sys.mmap(fd, PROT_READ, MAP_PRIVATE, PAGE_SIZE), 4)
    return fd


async def sealer(sys: Syscalls, fd: int) -> int:
    return await sys.add_seals(fd, F_SEAL_WRITE)


def seal_granted(sealer: int) -> bool:
    return sealer == 0


def seal_refused_for_readers(sealer: int) -> bool:
    return sealer == -EBUSY


scenario = Scenario(
    question="references",
    setup=setup,
    threads=(sealer,),
    sometimes=(seal_granted,),
    needless=(seal_refused_for_readers,),
    expect={OTHERS: HOLDS},
)
