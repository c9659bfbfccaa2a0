"""A process exits while its direct read is in flight: exit_aio() waits for the device before exit_mmap() unmaps.

As `dio_from_another_process`, but exit() in place of munmap(): the mapping stays counted until the device has
answered, so even a strategy that looks at nothing but `i_mmap_writable` keeps the promise.  A device that stays
silent holds the exit, and the seal, off for ever.

    reader    (own process) maps the memfd, reads from a slow device into it, exits
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
from mmsim.verdict import HOLDS, OTHERS

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


async def reader(sys: Syscalls, fd: int) -> None:
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    if buffer >= 0:
        await sys.submit_direct_read(SLOW, buffer, fill(b"late"))
    await sys.exit()


async def sealer(sys: Syscalls, fd: int) -> Seen:
    sealed = await sys.add_seals(fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(fd, PAGE_SIZE), await sys.pread(fd, PAGE_SIZE))


def sealed_content_never_changes(sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == sealer.second


def sealed_before_the_mapping(sealer: Seen) -> bool:
    return sealer.sealed == 0 and sealer.first == fill(b"orig")


def sealed_after_the_exit(sealer: Seen) -> bool:
    return sealer.sealed == 0 and sealer.first == fill(b"late")


def seal_refused(sealer: Seen) -> bool:
    return sealer.sealed == -EBUSY


scenario = Scenario(
    question="seal",
    sibling="dio_from_another_process",
    setup=setup,
    threads=(process(reader), sealer),
    devices=(SLOW,),
    always=(sealed_content_never_changes,),
    sometimes=(sealed_before_the_mapping, sealed_after_the_exit, seal_refused),
    expect={OTHERS: HOLDS},
)
