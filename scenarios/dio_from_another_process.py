"""A direct read into a memfd that another process mapped completes after the seal.

As `dio_completes_after_seal`, but the reader is a process of its own: the sealer never sees its mapping come or go.

    reader    (own process) maps the memfd, reads from a slow device into it, unmaps it, waits for the device
    sealer    adds F_SEAL_WRITE, then reads the file twice
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario, process
from mmsim.syscalls import (
    EBUSY,
    EPERM,
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
    return fd


async def reader(sys: Syscalls, fd: int) -> int:
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    if buffer < 0:
        return buffer
    io = await sys.submit_direct_read(SLOW, buffer, fill(b"late"))
    await sys.munmap(buffer)
    return await sys.wait_for(io)


async def sealer(sys: Syscalls, fd: int) -> Seen:
    sealed = await sys.add_seals(fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(fd, PAGE_SIZE), await sys.pread(fd, PAGE_SIZE))


def sealed_content_never_changes(sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == sealer.second


def seal_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


def seal_refused(sealer: Seen) -> bool:
    return sealer.sealed == -EBUSY


def mapping_refused(reader: int) -> bool:
    return reader == -EPERM


scenario = Scenario(
    question="seal",
    setup=setup,
    threads=(process(reader), sealer),
    devices=(SLOW,),
    always=(sealed_content_never_changes,),
    sometimes=(seal_granted, seal_refused, mapping_refused),
    expect={
        OTHERS: HOLDS,
        "sealing_v2": VIOLATED,
        "delayed_unmap_mutex": VIOLATED,
        "delayed_unmap_irq_lock": VIOLATED,
        "delayed_unmap_look_first": VIOLATED,
    },
)
