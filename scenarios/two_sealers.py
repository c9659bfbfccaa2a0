"""Two processes seal one file at once: both succeed, and `i_mmap_writable` is denied once, not twice.

mapping_deny_writable() knows no owner: only the inode lock keeps a second denial from taking the counter to -2.

    sealer     adds F_SEAL_WRITE
    another    (own process) adds F_SEAL_WRITE
"""

from __future__ import annotations

from mmsim.scenario import Scenario, process
from mmsim.syscalls import F_SEAL_WRITE, MFD_ALLOW_SEALING, Syscalls, fill
from mmsim.verdict import HOLDS, OTHERS


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    return fd


async def sealer(sys: Syscalls, fd: int) -> int:
    return await sys.add_seals(fd, F_SEAL_WRITE)


async def another(sys: Syscalls, fd: int) -> int:
    return await sys.add_seals(fd, F_SEAL_WRITE)


def both_are_granted(sealer: int, another: int) -> bool:
    return sealer == another == 0


scenario = Scenario(
    question="kept",
    sibling="dio_completes_after_seal",
    setup=setup,
    threads=(sealer, process(another)),
    always=(both_are_granted,),
    sometimes=(both_are_granted,),
    expect={OTHERS: HOLDS},
)
