"""A scanner that comes by page frame number takes a reference for a moment, while the seal looks for pins.

It knows nothing of the file and cannot write it, but it can be interrupted for as long as the seal waits.

    scanner    looks at every page of memory once
    sealer     adds F_SEAL_WRITE
"""

from __future__ import annotations

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EBUSY,
    F_SEAL_WRITE,
    MFD_ALLOW_SEALING,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    return fd


async def scanner(sys: Syscalls, fd: int) -> int:
    return await sys.scan_pages()


async def sealer(sys: Syscalls, fd: int) -> int:
    return await sys.add_seals(fd, F_SEAL_WRITE)


def seal_granted(sealer: int) -> bool:
    return sealer == 0


def seal_refused(sealer: int) -> bool:
    return sealer == -EBUSY


scenario = Scenario(
    question="references",
    sibling="bystander_and_file_reader",
    setup=setup,
    threads=(scanner, sealer),
    sometimes=(seal_granted,),
    needless=(seal_refused,),
    expect={OTHERS: HOLDS},
)
