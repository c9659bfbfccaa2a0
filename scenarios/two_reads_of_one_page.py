"""Two devices fill the same page, and one is done before the other: the first to end must not speak for both.

As `dio_completes_after_seal`, but with two direct reads into one page, so that a design which counts pins has to count
to two, and one which leaves a debt on the page must not pay it at the first chance.

    sealer    adds F_SEAL_WRITE, then reads the file twice
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
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
SLOWER = Device("slower")


@attrs.frozen
class Seen:
    sealed: int
    first: bytes | int
    second: bytes | int


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.submit_direct_read(SLOW, buffer, fill(b"late"))
    await sys.submit_direct_read(SLOWER, buffer, fill(b"last"))
    await sys.munmap(buffer)
    return fd


async def sealer(sys: Syscalls, fd: int) -> Seen:
    sealed = await sys.add_seals(fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(fd, PAGE_SIZE), await sys.pread(fd, PAGE_SIZE))


def seal_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


def content_of_the_last(sealer: Seen) -> bool:
    return sealer.second == fill(b"last")


scenario = Scenario(
    question="seal",
    setup=setup,
    threads=(sealer,),
    devices=(SLOW, SLOWER),
    sometimes=(seal_granted, content_of_the_last),
    expect={
        OTHERS: HOLDS,
        "sealing_v2": VIOLATED,
        "writable_user_pages_slow": VIOLATED,
        "delayed_unmap_mutex": VIOLATED,
        "delayed_unmap_irq_lock": VIOLATED,
    },
)
