"""A direct read of a FUSE file completes late, or never: its server is a process, and writes when it pleases.

As `nfs_read_completes_after_seal`, but FUSE pins by v6.12.

    reader    reads from a slow FUSE server straight into the mapped memfd, unmaps it, waits for the answer
    sealer    adds F_SEAL_WRITE, then reads the file twice
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

SLOW = Device("slow", transport="fuse")


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
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(shared.fd, PAGE_SIZE), await sys.pread(shared.fd, PAGE_SIZE))


def sealed_content_never_changes(sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == sealer.second


def seal_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


def seal_refused(sealer: Seen) -> bool:
    return sealer.sealed == -EBUSY


scenario = Scenario(
    question="references",
    setup=setup,
    threads=(reader, sealer),
    devices=(SLOW,),
    always=(sealed_content_never_changes,),
    sometimes=(seal_granted, seal_refused),
    expect={
        OTHERS: HOLDS,
        "sealing_v2": VIOLATED,
        "delayed_unmap_look_first": VIOLATED,
    },
    release="v6.12",
)
