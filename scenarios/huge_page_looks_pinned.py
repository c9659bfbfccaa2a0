"""The pages of the memfd are huge: the check for pins took what the page cache has of them for somebody's references.

Nobody holds the page and nobody maps it, so the seal must be granted.  The cache has 512 references to a huge page, and
until v5.17 the check expected one.

    sealer    adds F_SEAL_WRITE to a file that nobody uses
"""

from __future__ import annotations

from mmsim.scenario import Scenario
from mmsim.syscalls import F_SEAL_WRITE, MFD_ALLOW_SEALING, Syscalls, fill
from mmsim.verdict import HOLDS, VIOLATED


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    return fd


async def sealer(sys: Syscalls, fd: int) -> int:
    return await sys.add_seals(fd, F_SEAL_WRITE)


def what_nobody_holds_can_be_sealed(sealer: int) -> bool:
    return sealer == 0


scenario = Scenario(
    question="history",
    setup=setup,
    threads=(sealer,),
    always=(what_nobody_holds_can_be_sealed,),
    sometimes=(what_nobody_holds_can_be_sealed,),
    history={"v3.17": HOLDS, "v4.8": VIOLATED, "v5.16": VIOLATED, "v5.17": HOLDS},
    release="v4.8",
    shmem_huge=True,
    model_only=True,
)
