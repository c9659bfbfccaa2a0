"""The file is cut to nothing and grown again under a direct read, then sealed: the device fills a page that nobody has.

A page that left the cache is no longer the file's, so the seal has no need to wait for its holder.

    sealer    cuts the file, grows it, adds F_SEAL_WRITE, then reads it twice
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EBUSY,
    F_SEAL_WRITE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Device,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS, VIOLATED

SLOW = Device("slow")


@attrs.frozen
class Seen:
    sealed: int
    first: bytes | int
    second: bytes | int


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    window = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.submit_direct_read(SLOW, window, fill(b"late"))
    await sys.munmap(window)
    return fd


async def sealer(sys: Syscalls, fd: int) -> Seen:
    await sys.ftruncate(fd, 0)
    await sys.ftruncate(fd, PAGE_SIZE)
    sealed = await sys.add_seals(fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(fd, PAGE_SIZE), await sys.pread(fd, PAGE_SIZE))


def nothing_arrives_in_the_file(sealer: Seen) -> bool:
    return sealer.first == sealer.second == bytes(PAGE_SIZE)


def seal_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


def seal_refused(sealer: Seen) -> bool:
    return sealer.sealed == -EBUSY


scenario = Scenario(
    question="references",
    setup=setup,
    threads=(sealer,),
    devices=(SLOW,),
    always=(nothing_arrives_in_the_file,),
    sometimes=(seal_granted,),
    needless=(seal_refused,),
    expect={
        OTHERS: HOLDS,
        "writable_user_pages_lookup": VIOLATED,  # page->mapping is gone
        "delayed_unmap_mutex": VIOLATED,
        "delayed_unmap_irq_lock": VIOLATED,
        "leftover_flag": VIOLATED,  # here too
    },
)
