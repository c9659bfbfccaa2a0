"""A direct read is held back while its buffer is unmapped and the file sealed; then the device answers.

program: submits the read, unmaps the buffer, adds F_SEAL_WRITE, waits for the read, reads the file, seals again
"""

from __future__ import annotations

from time import monotonic

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
    transferred: int
    sealed: int
    refused_slowly: bool
    before: bytes | int
    content: bytes | int
    sealed_again: int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.ftruncate(fd, PAGE_SIZE)
    await sys.pwrite(fd, fill(b"old."))
    return Shared(fd, await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED))


async def program(sys: Syscalls, s: Shared) -> Seen:
    io = await sys.submit_direct_read(SLOW, s.buffer, fill(b"new!"))
    await sys.munmap(s.buffer)
    began = monotonic()
    sealed = await sys.add_seals(s.fd, F_SEAL_WRITE)
    refused_slowly = sealed == -EBUSY and monotonic() - began > 0.1
    before = await sys.pread(s.fd, 4)
    transferred = await sys.wait_for(io)
    content = await sys.pread(s.fd, 4)
    return Seen(transferred, sealed, refused_slowly, before, content, await sys.add_seals(s.fd, F_SEAL_WRITE))


scenario = Scenario(setup=setup, threads=(program,), devices=(SLOW,))
