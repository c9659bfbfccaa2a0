"""A thread vmsplices from a mapping that another unmaps: it gets the page or EFAULT, and never a page that is free.

As `dio_races_munmap`, but with a reference to read that ends in a pipe.

    giver      vmsplices the mapped memfd into a pipe
    unmapper   unmaps it, adds F_SEAL_WRITE
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
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


@attrs.frozen
class Shared:
    fd: int
    read: int
    write: int
    window: int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    window = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.load(window, 1)
    return Shared(fd, *await sys.pipe(), window)


async def giver(sys: Syscalls, shared: Shared) -> int:
    return await sys.vmsplice(shared.write, shared.window, PAGE_SIZE)


async def unmapper(sys: Syscalls, shared: Shared) -> int:
    await sys.munmap(shared.window)
    return await sys.add_seals(shared.fd, F_SEAL_WRITE)


def page_spliced(giver: int) -> bool:
    return giver == PAGE_SIZE


def nothing_spliced(giver: int) -> bool:
    return giver == -EFAULT


def seal_granted(unmapper: int) -> bool:
    return unmapper == 0


def seal_refused_for_a_reader(unmapper: int) -> bool:
    return unmapper == -EBUSY


scenario = Scenario(
    question="references",
    setup=setup,
    threads=(giver, unmapper),
    sometimes=(page_spliced, nothing_spliced, seal_granted),
    needless=(seal_refused_for_a_reader,),
    expect={OTHERS: HOLDS, "put_user_pages_unconverted": VIOLATED},  # vmsplice is among them
)
