"""The buffer of a direct read is unmapped while the read is being submitted.

As `dio_completes_after_seal`, but munmap() runs in a thread of its own, and the page is in the page table from the
start: get_user_pages_fast(), which takes no lock, races the zapping of the PTE it has just read.

    reader      reads from a slow device straight into the mapped memfd, waits for the device
    unmapper    unmaps the memfd
    sealer      adds F_SEAL_WRITE, then reads the file twice
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
    await sys.ftruncate(fd, PAGE_SIZE)
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.store(buffer, fill(b"orig"))
    return Shared(fd, buffer)


async def reader(sys: Syscalls, shared: Shared) -> int:
    io = await sys.submit_direct_read(SLOW, shared.buffer, fill(b"late"))
    return io if isinstance(io, int) else await sys.wait_for(io)


async def unmapper(sys: Syscalls, shared: Shared) -> int:
    return await sys.munmap(shared.buffer)


async def sealer(sys: Syscalls, shared: Shared) -> Seen:
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(shared.fd, PAGE_SIZE), await sys.pread(shared.fd, PAGE_SIZE))


def sealed_content_never_changes(sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == sealer.second


def seal_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


def seal_refused(sealer: Seen) -> bool:
    return sealer.sealed == -EBUSY


def buffer_gone_before_the_read(reader: int) -> bool:
    return reader == -EFAULT


def read_survives_the_unmapping(reader: int, unmapper: int) -> bool:
    return reader == PAGE_SIZE and unmapper == 0


scenario = Scenario(
    question="seal",
    setup=setup,
    threads=(reader, unmapper, sealer),
    devices=(SLOW,),
    always=(sealed_content_never_changes,),
    sometimes=(seal_granted, seal_refused, buffer_gone_before_the_read, read_survives_the_unmapping),
    expect={
        OTHERS: HOLDS,
        "sealing_v2": VIOLATED,
        "writable_user_pages_slow": VIOLATED,
        "delayed_unmap_mutex": VIOLATED,
        "delayed_unmap_irq_lock": VIOLATED,
        "delayed_unmap_look_first": VIOLATED,
    },
)
