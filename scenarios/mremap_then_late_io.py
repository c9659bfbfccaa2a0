"""A direct read was started at an address that its mapping has since left.

As `dio_completes_after_seal`, but between the start of the read and munmap() the mapping moves.

    reader    starts a direct read into the mapped memfd, moves the mapping, unmaps it, waits for the device
    sealer    adds F_SEAL_WRITE, then reads the file twice
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EBUSY,
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    MREMAP_MAYMOVE,
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
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.store(buffer, fill(b"orig"))
    await sys.mmap(fd, PROT_READ, MAP_PRIVATE)  # in the way of what would grow in place
    return Shared(fd, buffer)


async def reader(sys: Syscalls, shared: Shared) -> int:
    io = await sys.submit_direct_read(SLOW, shared.buffer, fill(b"late"))
    moved = await sys.mremap(shared.buffer, PAGE_SIZE, 2 * PAGE_SIZE, MREMAP_MAYMOVE)
    await sys.munmap(moved, 2 * PAGE_SIZE)
    return await sys.wait_for(io)


async def sealer(sys: Syscalls, shared: Shared) -> Seen:
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(shared.fd, PAGE_SIZE), await sys.pread(shared.fd, PAGE_SIZE))


def sealed_content_never_changes(sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == sealer.second


def seal_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


def seal_refused(sealer: Seen) -> bool:
    return sealer.sealed == -EBUSY


scenario = Scenario(
    question="seal",
    setup=setup,
    threads=(reader, sealer),
    devices=(SLOW,),
    always=(sealed_content_never_changes,),
    sometimes=(seal_granted, seal_refused),
    model_only=True,  # where a real kernel puts a mapping that moves is its own affair
    expect={
        OTHERS: HOLDS,
        "sealing_v2": VIOLATED,
        "writable_user_pages_slow": VIOLATED,
        "delayed_unmap_mutex": VIOLATED,
        "delayed_unmap_irq_lock": VIOLATED,
        "delayed_unmap_look_first": VIOLATED,
    },
)
