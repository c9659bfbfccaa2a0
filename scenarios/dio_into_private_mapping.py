"""A direct read fills a private mapping, which breaks copy-on-write first: the file is never its target.

As `dio_completes_after_seal`, but the buffer is MAP_PRIVATE: get_user_pages() for writing must give the device a copy
of the page, so late I/O is harmless to every strategy.

    reader    reads from a slow device into a private mapping of the memfd, unmaps it, waits for the device
    sealer    adds F_SEAL_WRITE, then reads the file
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Device,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS

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
    await sys.pwrite(fd, fill(b"orig"))
    return Shared(fd, await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE))


async def reader(sys: Syscalls, shared: Shared) -> int:
    io = await sys.submit_direct_read(SLOW, shared.buffer, fill(b"late"))
    await sys.munmap(shared.buffer)
    return await sys.wait_for(io)


async def sealer(sys: Syscalls, shared: Shared) -> Seen:
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(shared.fd, PAGE_SIZE))


def file_keeps_its_content(sealer: Seen) -> bool:
    return sealer.content == fill(b"orig")


def seal_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


scenario = Scenario(
    question="seal",
    sibling="dio_completes_after_seal",
    setup=setup,
    threads=(reader, sealer),
    devices=(SLOW,),
    always=(file_keeps_its_content,),
    sometimes=(seal_granted,),
    expect={OTHERS: HOLDS},
)
