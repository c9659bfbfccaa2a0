"""A file is cut to nothing while a device still fills its page: what was counted for that page must be given back.

Truncation takes the page out of the file, and clears the field that leads from the page to the file.  The device goes
on and writes a page that is nobody's; once it is done, the file must be as any other.  A design that counts pins or
leftover pages in the file has to find the file again.

    cutter    cuts the file to nothing, grows it again, adds F_SEAL_WRITE, reads it
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


@attrs.frozen
class Seen:
    sealed: int
    content: bytes | int


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.submit_direct_read(SLOW, buffer, fill(b"late"))
    await sys.munmap(buffer)
    return fd


async def cutter(sys: Syscalls, fd: int) -> Seen:
    await sys.ftruncate(fd, 0)
    await sys.ftruncate(fd, PAGE_SIZE)
    sealed = await sys.add_seals(fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(fd, PAGE_SIZE))


def what_was_cut_off_stays_zero(cutter: Seen) -> bool:
    return cutter.content == bytes(PAGE_SIZE)


def seal_granted(cutter: Seen) -> bool:
    return cutter.sealed == 0


def seal_refused_for_a_page_that_is_gone(cutter: Seen) -> bool:
    return cutter.sealed == -EBUSY


scenario = Scenario(
    question="kept",
    setup=setup,
    threads=(cutter,),
    devices=(SLOW,),
    always=(what_was_cut_off_stays_zero,),
    sometimes=(seal_granted,),
    needless=(seal_refused_for_a_page_that_is_gone,),
    expect={
        OTHERS: HOLDS,
        "writable_user_pages_lookup": VIOLATED,  # page->mapping is gone
        "delayed_unmap_mutex": VIOLATED,
        "delayed_unmap_irq_lock": VIOLATED,
        "leftover_flag": VIOLATED,  # here too
    },
)
