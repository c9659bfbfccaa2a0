"""A process exits with a registered buffer: its mapping goes first, the buffer when the ring is torn down.

As `dio_then_exit`, with a registered buffer: exit() waits for the request under way before it unmaps anything, so no
write is left when the mapping is gone, but for a moment the pages are still held.

    user      (own process) maps the memfd, registers the mapping, reads from a slow device into it, exits
    sealer    adds F_SEAL_WRITE, then reads the file twice
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario, process
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


async def user(sys: Syscalls, fd: int) -> None:
    window = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    if window >= 0:
        await sys.submit_read_fixed(SLOW, await sys.register_buffer(window), fill(b"late"))
    await sys.exit()


async def sealer(sys: Syscalls, fd: int) -> Seen:
    sealed = await sys.add_seals(fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(fd, PAGE_SIZE), await sys.pread(fd, PAGE_SIZE))


def sealed_content_never_changes(sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == sealer.second


def sealed_after_the_exit(sealer: Seen) -> bool:
    return sealer.sealed == 0 and sealer.first == fill(b"late")


def seal_refused(sealer: Seen) -> bool:
    return sealer.sealed == -EBUSY


scenario = Scenario(
    question="references",
    setup=setup,
    threads=(process(user), sealer),
    devices=(SLOW,),
    always=(sealed_content_never_changes,),
    sometimes=(sealed_after_the_exit, seal_refused),
    expect={OTHERS: HOLDS, "delayed_unmap_sync": VIOLATED},  # exit() unmaps first, then tears down the ring
    release="v5.10",
)
