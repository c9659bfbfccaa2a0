"""A file is cut to nothing while F_SEAL_SHRINK is added and a device is still to fill its page.

F_SEAL_SHRINK promises the size and not the content, so it waits for nobody; the late data lands in the file, or in a
page that was cut off.

    truncater    cuts the file to nothing, waits for a slow device that was told to write there
    sealer       adds F_SEAL_SHRINK, then reads the file twice
"""

from __future__ import annotations

from typing import Any

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EPERM,
    F_SEAL_SHRINK,
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
    io: Any


@attrs.frozen
class Seen:
    sealed: int
    first: bytes | int
    second: bytes | int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    io = await sys.submit_direct_read(SLOW, buffer, fill(b"late"))
    await sys.munmap(buffer)
    return Shared(fd, io)


async def truncater(sys: Syscalls, shared: Shared) -> int:
    cut = await sys.ftruncate(shared.fd, 0)
    await sys.wait_for(shared.io)
    return cut


async def sealer(sys: Syscalls, shared: Shared) -> Seen:
    sealed = await sys.add_seals(shared.fd, F_SEAL_SHRINK)
    return Seen(sealed, await sys.pread(shared.fd, PAGE_SIZE), await sys.pread(shared.fd, PAGE_SIZE))


def seal_is_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


def sealed_size_never_shrinks(truncater: int, sealer: Seen) -> bool:
    if isinstance(sealer.first, int) or isinstance(sealer.second, int):
        return False
    return len(sealer.first) == len(sealer.second) == (PAGE_SIZE if truncater else 0)


def late_data_lands_in_the_file(truncater: int, sealer: Seen) -> bool:
    return truncater == -EPERM and sealer.second == fill(b"late")


def cut_first(truncater: int) -> bool:
    return truncater == 0


scenario = Scenario(
    question="other seals",
    setup=setup,
    threads=(truncater, sealer),
    devices=(SLOW,),
    always=(seal_is_granted, sealed_size_never_shrinks),
    sometimes=(late_data_lands_in_the_file, cut_first),
    expect={
        OTHERS: HOLDS,
        "writable_user_pages_lookup": VIOLATED,  # page->mapping is gone
        "delayed_unmap_mutex": VIOLATED,
        "leftover_flag": VIOLATED,  # here too
    },
)
