"""A direct read completes after the file was sealed with F_SEAL_FUTURE_WRITE: the data lands, and nobody waited.

As `dio_completes_after_seal`, but for a seal that speaks of future writers only.

    reader    reads from a slow device straight into the mapped memfd, unmaps it, waits for the device
    sealer    adds F_SEAL_FUTURE_WRITE, then reads the file twice
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    F_SEAL_FUTURE_WRITE,
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
class Shared:
    fd: int
    buffer: int


@attrs.frozen
class Seen:
    sealed: int
    first: bytes | int
    second: bytes | int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    return Shared(fd, await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED))


async def reader(sys: Syscalls, shared: Shared) -> int:
    io = await sys.submit_direct_read(SLOW, shared.buffer, fill(b"late"))
    await sys.munmap(shared.buffer)
    return await sys.wait_for(io)


async def sealer(sys: Syscalls, shared: Shared) -> Seen:
    sealed = await sys.add_seals(shared.fd, F_SEAL_FUTURE_WRITE)
    return Seen(sealed, await sys.pread(shared.fd, PAGE_SIZE), await sys.pread(shared.fd, PAGE_SIZE))


def seal_is_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


def late_data_lands(sealer: Seen) -> bool:
    return sealer.first == fill(b"orig") and sealer.second == fill(b"late")


scenario = Scenario(
    question="other seals",
    setup=setup,
    threads=(reader, sealer),
    devices=(SLOW,),
    always=(seal_is_granted,),
    sometimes=(late_data_lands,),
    release="v5.1",
    expect={
        OTHERS: HOLDS,
        "delayed_unmap_mutex": VIOLATED,
        "delayed_unmap_irq_lock": VIOLATED,
        "delayed_unmap_look_first": VIOLATED,
    },
)
