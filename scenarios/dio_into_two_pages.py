"""One direct read fills two pages, one after the other, and a seal may be granted between them.

As `dio_completes_after_seal`, but with a buffer of two pages: a check must find both of them, and sealed content is
all of it old or all of it new.

    reader    reads from a slow device straight into the mapped memfd, unmaps it, waits for the device
    sealer    adds F_SEAL_WRITE, then reads both pages
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
from mmsim.verdict import HOLDS, OTHERS, VIOLATED

SLOW = Device("slow")
TWO_PAGES = 2 * PAGE_SIZE


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
    await sys.pwrite(fd, fill(b"orig", pages=2))
    return Shared(fd, await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED, TWO_PAGES))


async def reader(sys: Syscalls, shared: Shared) -> int:
    io = await sys.submit_direct_read(SLOW, shared.buffer, fill(b"late", pages=2))
    await sys.munmap(shared.buffer, TWO_PAGES)
    return await sys.wait_for(io)


async def sealer(sys: Syscalls, shared: Shared) -> Seen:
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(shared.fd, TWO_PAGES))


def sealed_content_is_whole(sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.content in (fill(b"orig", pages=2), fill(b"late", pages=2))


def seal_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


def seal_refused(sealer: Seen) -> bool:
    return sealer.sealed == -EBUSY


def half_read(sealer: Seen) -> bool:
    return sealer.content == fill(b"late") + fill(b"orig")


scenario = Scenario(
    question="seal",
    setup=setup,
    threads=(reader, sealer),
    devices=(SLOW,),
    always=(sealed_content_is_whole,),
    sometimes=(seal_granted, seal_refused, half_read),
    expect={
        OTHERS: HOLDS,
        "sealing_v2": VIOLATED,
        "page_replacement": VIOLATED,
        "delayed_unmap_mutex": VIOLATED,
        "delayed_unmap_irq_lock": VIOLATED,
        "delayed_unmap_look_first": VIOLATED,
        "copy_on_seal": VIOLATED,
        "unmap_then_replace": VIOLATED,
    },
)
