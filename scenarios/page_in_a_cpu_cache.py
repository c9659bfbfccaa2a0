"""The seal comes while another CPU's cache of the LRU lists holds the page: a reference that belongs to no user of it.

The first scan has every CPU empty its cache, so nobody has to wait for it, and no seal is refused.

    user      writes a page that was not there before
    sealer    adds F_SEAL_WRITE
"""

from __future__ import annotations

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EBUSY,
    F_SEAL_WRITE,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS


async def setup(sys: Syscalls) -> int:
    return await sys.memfd_create("frame", MFD_ALLOW_SEALING)


async def user(sys: Syscalls, fd: int) -> int:
    return await sys.pwrite(fd, fill(b"orig"))


async def sealer(sys: Syscalls, fd: int) -> int:
    return await sys.add_seals(fd, F_SEAL_WRITE)


def sealed_after_the_write(user: int, sealer: int) -> bool:
    return user == PAGE_SIZE and sealer == 0


def seal_refused(sealer: int) -> bool:
    return sealer == -EBUSY


scenario = Scenario(
    question="references",
    sibling="dio_completes_after_seal",
    setup=setup,
    threads=(user, sealer),
    sometimes=(sealed_after_the_write,),
    needless=(seal_refused,),
    expect={OTHERS: HOLDS},
)
