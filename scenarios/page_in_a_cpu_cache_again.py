"""A reader puts the page into his CPU's cache while the seal waits: caches are emptied once, before the first scan.

As `page_in_a_cpu_cache`, but the user also reads what he wrote, which activates the page by way of his CPU's cache.  If
that happens after the first scan, the page stays there through all the others, and the seal is refused for nobody's
sake.

    user      writes a page that was not there before, reads it
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


async def user(sys: Syscalls, fd: int) -> bytes | int:
    await sys.pwrite(fd, fill(b"orig"))
    return await sys.pread(fd, PAGE_SIZE)


async def sealer(sys: Syscalls, fd: int) -> int:
    return await sys.add_seals(fd, F_SEAL_WRITE)


def sealed_after_the_write(user: bytes | int, sealer: int) -> bool:
    return user == fill(b"orig") and sealer == 0


def seal_refused(sealer: int) -> bool:
    return sealer == -EBUSY


scenario = Scenario(
    question="references",
    sibling="bystander_maps_privately",
    setup=setup,
    threads=(user, sealer),
    sometimes=(sealed_after_the_write,),
    needless=(seal_refused,),
    expect={OTHERS: HOLDS},
)
