"""A page that a device is still to fill is punched out of the file, and the file is sealed.

The device writes a page that is no longer the file's.  Only if the hole comes too late does the pin matter: then it is
`dio_completes_after_seal` again.

    puncher    punches a hole where a slow device was told to write, waits for the device
    sealer     adds F_SEAL_WRITE, then reads the file twice
"""

from __future__ import annotations

from typing import Any

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    F_SEAL_WRITE,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
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


async def puncher(sys: Syscalls, shared: Shared) -> int:
    punched = await sys.fallocate(shared.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE_SIZE)
    await sys.wait_for(shared.io)
    return punched


async def sealer(sys: Syscalls, shared: Shared) -> Seen:
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(shared.fd, PAGE_SIZE), await sys.pread(shared.fd, PAGE_SIZE))


def sealed_content_never_changes(sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == sealer.second


def the_hole_stays_empty(puncher: int, sealer: Seen) -> bool:
    return puncher != 0 or sealer.sealed != 0 or sealer.second == bytes(PAGE_SIZE)


def sealed_with_the_hole(puncher: int, sealer: Seen) -> bool:
    return puncher == 0 and sealer.sealed == 0


scenario = Scenario(
    question="other seals",
    setup=setup,
    threads=(puncher, sealer),
    devices=(SLOW,),
    always=(sealed_content_never_changes, the_hole_stays_empty),
    sometimes=(sealed_with_the_hole,),
    expect={
        OTHERS: HOLDS,
        "sealing_v2": VIOLATED,
        "writable_user_pages_lookup": VIOLATED,  # page->mapping is gone
        "delayed_unmap_mutex": VIOLATED,
        "delayed_unmap_irq_lock": VIOLATED,
        "leftover_flag": VIOLATED,  # here too
    },
)
