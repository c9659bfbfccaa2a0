"""A page moves while the CPU stores into it: the store lands before the copy is made, or in the copy.

As `migration_races_dio`, but the CPU writes, whose TLB may remember the old page.

    writer    stores into the mapped memfd twice, looks at it
    mover     moves the page to another place in memory
"""

from __future__ import annotations

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PROT_READ,
    PROT_WRITE,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    window = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.load(window, 4)
    return window


async def mover(sys: Syscalls, window: int) -> int:
    return await sys.move_pages(window)


async def writer(sys: Syscalls, window: int) -> object:
    await sys.store(window, b"one")
    await sys.store(window, b"two")
    return await sys.load(window, 3)


def the_last_store_is_there(writer: object) -> bool:
    return writer == b"two"


def moved(mover: int) -> bool:
    return mover == 0


scenario = Scenario(
    question="kept",
    sibling="migration_hides_no_pin",
    setup=setup,
    threads=(writer, mover),
    always=(the_last_store_is_there,),
    sometimes=(moved,),
    expect={OTHERS: HOLDS},
)
