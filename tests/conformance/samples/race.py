"""A direct read into a memfd, an unmapping and a seal race, in threads of one process.

reader    submits a direct read into the mapping, unmaps it, waits for the read
sealer    adds F_SEAL_WRITE, then reads the file
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

SLOW = Device("slow")


@attrs.frozen
class Shared:
    fd: int
    buffer: int


@attrs.frozen
class Seen:
    sealed: int
    content: bytes | int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.ftruncate(fd, PAGE_SIZE)
    await sys.pwrite(fd, fill(b"old."))
    return Shared(fd, await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED))


async def reader(sys: Syscalls, s: Shared) -> int:
    io = await sys.submit_direct_read(SLOW, s.buffer, fill(b"new!"))
    await sys.munmap(s.buffer)
    return int(await sys.wait_for(io))


async def sealer(sys: Syscalls, s: Shared) -> Seen:
    sealed = await sys.add_seals(s.fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(s.fd, 4))


scenario = Scenario(setup=setup, threads=(reader, sealer), devices=(SLOW,))
allowed = tuple(
    (("reader", PAGE_SIZE), ("sealer", Seen(sealed, content)))
    for sealed, content in ((0, b"new!"), (-EBUSY, b"old."), (-EBUSY, b"new!"))
)
