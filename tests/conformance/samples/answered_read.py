"""A direct read completes before its buffer is unmapped and the file sealed.

program: submits the read, unmaps the buffer, waits for the read, adds F_SEAL_WRITE, reads the file
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

SLOW = Device("slow")


@attrs.frozen
class Shared:
    fd: int
    buffer: int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.ftruncate(fd, PAGE_SIZE)
    await sys.pwrite(fd, fill(b"old."))
    return Shared(fd, await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED))


async def program(sys: Syscalls, s: Shared) -> tuple[int, int, bytes | int]:
    io = await sys.submit_direct_read(SLOW, s.buffer, fill(b"new!"))
    await sys.munmap(s.buffer)
    transferred = await sys.wait_for(io)
    return transferred, await sys.add_seals(s.fd, F_SEAL_WRITE), await sys.pread(s.fd, 4)


scenario = Scenario(setup=setup, threads=(program,), devices=(SLOW,))
