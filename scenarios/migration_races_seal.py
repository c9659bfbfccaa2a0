"""The page moves to another place in memory while the seal looks for pins.

Migration freezes the reference count at 0 while it copies, holds a reference before and after, and the page that was
looked at is no longer the file's.  Whatever the seal makes of it, what was sealed stays.

    mover     has the kernel compact its memory
    sealer    adds F_SEAL_WRITE, then reads the file twice
"""

from __future__ import annotations

import attrs

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


@attrs.frozen
class Seen:
    sealed: int
    first: bytes | int
    second: bytes | int


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    return fd


async def mover(sys: Syscalls, fd: int) -> int:
    return await sys.compact_memory()


async def sealer(sys: Syscalls, fd: int) -> Seen:
    sealed = await sys.add_seals(fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(fd, PAGE_SIZE), await sys.pread(fd, PAGE_SIZE))


def the_content_stays(sealer: Seen) -> bool:
    return sealer.first == sealer.second == fill(b"orig")


def seal_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


def seal_refused(sealer: Seen) -> bool:
    return sealer.sealed == -EBUSY


scenario = Scenario(
    question="references",
    sibling="migration_hides_no_pin",
    setup=setup,
    threads=(mover, sealer),
    always=(the_content_stays,),
    sometimes=(seal_granted,),
    needless=(seal_refused,),
    expect={OTHERS: HOLDS},
)
