"""A page moves while a direct read pins it: migration gives up where it finds the pin, and no data is lost.

It may also come first, and the read pins the new page; or last, and the data moves with the page.

    reader    reads from a slow device into the mapped memfd, waits, looks at it
    mover     moves the page to another place in memory
"""

from __future__ import annotations

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EBUSY,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PROT_READ,
    PROT_WRITE,
    Device,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS

SLOW = Device("slow")


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    window = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.load(window, 4)
    return window


async def mover(sys: Syscalls, window: int) -> int:
    return await sys.move_pages(window)


async def reader(sys: Syscalls, window: int) -> object:
    await sys.wait_for(await sys.submit_direct_read(SLOW, window, fill(b"late")))
    return await sys.load(window)


def the_data_is_there(reader: object) -> bool:
    return reader == fill(b"late")


def moved(mover: int) -> bool:
    return mover == 0


def pinned(mover: int) -> bool:
    return mover == -EBUSY


scenario = Scenario(
    question="kept",
    sibling="migration_hides_no_pin",
    setup=setup,
    threads=(reader, mover),
    devices=(SLOW,),
    always=(the_data_is_there,),
    sometimes=(moved, pinned),
    expect={OTHERS: HOLDS},
)
