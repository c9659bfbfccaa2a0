"""A seal that waits for pins holds `i_mmap_writable` at -1 before it is decided, and others can tell.

As `seal_races_mmap`, but a direct write has the page pinned, so that a seal may have to wait: meanwhile a shared
mapping fails with EPERM, and the seal may fail with EBUSY all the same.  Neither won.  The outcomes show which
strategies do that; `dio_write_out` tells why a device that only reads is enough.

    writer    writes the mapped memfd to a slow device and unmaps it
    mapper    maps the memfd writably and shared, and stores through the mapping it keeps
    sealer    adds F_SEAL_WRITE, then reads the file twice
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
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


async def writer(sys: Syscalls, shared: Shared) -> int:
    await sys.submit_direct_write(SLOW, shared.buffer)
    return await sys.munmap(shared.buffer)


async def mapper(sys: Syscalls, shared: Shared) -> int:
    window = await sys.mmap(shared.fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    if window < 0:
        return window
    await sys.store(window, fill(b"late"))
    return 0


async def sealer(sys: Syscalls, shared: Shared) -> Seen:
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(shared.fd, PAGE_SIZE), await sys.pread(shared.fd, PAGE_SIZE))


def sealed_content_never_changes(sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == sealer.second


def never_both(mapper: int, sealer: Seen) -> bool:
    return mapper != 0 or sealer.sealed != 0


def seal_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


def mapping_refused(mapper: int) -> bool:
    return mapper == -EPERM


def seal_refused(sealer: Seen) -> bool:
    return sealer.sealed == -EBUSY


scenario = Scenario(
    question="waiting",
    setup=setup,
    threads=(writer, mapper, sealer),
    devices=(SLOW,),
    always=(sealed_content_never_changes, never_both),
    sometimes=(seal_granted, mapping_refused, seal_refused),
    expect={
        OTHERS: HOLDS,
        "leftover_flag": VIOLATED,
    },
)
