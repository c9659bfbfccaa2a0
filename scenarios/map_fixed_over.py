"""A mapping ends without munmap(): another one is put in its place while a direct read into it is under way.

As `dio_completes_after_seal`, but with MAP_FIXED, which unmaps what was there.

    reader    starts a direct read into the mapped memfd, maps it privately over itself, waits for the device
    sealer    adds F_SEAL_WRITE, then reads the file twice
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EBUSY,
    F_SEAL_WRITE,
    MAP_FIXED,
    MAP_PRIVATE,
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


async def reader(sys: Syscalls, shared: Shared) -> tuple[bool, int]:
    io = await sys.submit_direct_read(SLOW, shared.buffer, fill(b"late"))
    over = await sys.mmap(shared.fd, PROT_READ, MAP_PRIVATE | MAP_FIXED, address=shared.buffer)
    return over == shared.buffer, await sys.wait_for(io)


async def sealer(sys: Syscalls, shared: Shared) -> Seen:
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(shared.fd, PAGE_SIZE), await sys.pread(shared.fd, PAGE_SIZE))


def sealed_content_never_changes(sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == sealer.second


def mapped_in_its_place(reader: tuple[bool, int]) -> bool:
    return reader[0]


def seal_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


def seal_refused(sealer: Seen) -> bool:
    return sealer.sealed == -EBUSY


scenario = Scenario(
    question="seal",
    setup=setup,
    threads=(reader, sealer),
    devices=(SLOW,),
    always=(sealed_content_never_changes, mapped_in_its_place),
    sometimes=(seal_granted, seal_refused),
    expect={
        OTHERS: HOLDS,
        "sealing_v2": VIOLATED,
        "delayed_unmap_mutex": VIOLATED,
        "delayed_unmap_irq_lock": VIOLATED,
        "delayed_unmap_look_first": VIOLATED,
    },
)
