"""A buffer that io_uring has registered keeps its pages after munmap(), for ever if its owner likes, and may be filled.

No request is under way when the seal comes, and none needs to be: the next may be submitted at any time.

    user      reads from a slow device into the registered buffer, whose mapping is gone
    sealer    adds F_SEAL_WRITE, then reads the file twice
"""

from __future__ import annotations

from typing import Any

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
from mmsim.verdict import HOLDS, OTHERS, UNASKED, VIOLATED

SLOW = Device("slow")


@attrs.frozen
class Shared:
    fd: int
    buffer: Any


@attrs.frozen
class Seen:
    sealed: int
    first: bytes | int
    second: bytes | int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    window = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    buffer = await sys.register_buffer(window)
    await sys.munmap(window)
    return Shared(fd, buffer)


async def user(sys: Syscalls, shared: Shared) -> int:
    return await sys.wait_for(await sys.submit_read_fixed(SLOW, shared.buffer, fill(b"late")))


async def sealer(sys: Syscalls, shared: Shared) -> Seen:
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(shared.fd, PAGE_SIZE), await sys.pread(shared.fd, PAGE_SIZE))


def sealed_content_never_changes(sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == sealer.second


def the_unmapped_page_is_written(user: int, sealer: Seen) -> bool:
    return user == PAGE_SIZE and sealer.second == fill(b"late")


scenario = Scenario(
    question="references",
    setup=setup,
    threads=(user, sealer),
    devices=(SLOW,),
    always=(sealed_content_never_changes,),
    sometimes=(the_unmapped_page_is_written,),
    expect={
        OTHERS: HOLDS,
        "sealing_v2": VIOLATED,
        "delayed_unmap_sync": UNASKED,  # setup unmaps a page that stays pinned, and waits
    },
    release="v5.10",
)
