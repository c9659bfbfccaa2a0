"""A store through a mapping that is then dropped races a remount read-only of an ext4.

As `write_races_remount`, but the page is made dirty by the CPU: writeback has to find that out from the page table.

    storer       stores and unmaps the file, whose descriptor is closed
    remounter    remounts read-only
"""

from __future__ import annotations

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EBUSY,
    MAP_SHARED,
    MS_RDONLY,
    O_CREAT,
    O_RDWR,
    PROT_READ,
    PROT_WRITE,
    Mount,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS

FILES = Mount("disk", "ext4")


async def setup(sys: Syscalls) -> int:
    fd = await sys.open(FILES, "frame", O_RDWR | O_CREAT)
    await sys.pwrite(fd, fill(b"orig"))
    await sys.sync()
    window = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.close(fd)
    return window


async def storer(sys: Syscalls, window: int) -> int:
    await sys.store(window, fill(b"late"))
    return await sys.munmap(window)


async def remounter(sys: Syscalls, _: int) -> int:
    return await sys.remount(FILES, MS_RDONLY)


def remount_granted(remounter: int) -> bool:
    return remounter == 0


def remount_refused(remounter: int) -> bool:
    return remounter == -EBUSY


scenario = Scenario(
    question="remount",
    sibling="remount_reaches_the_disk",
    setup=setup,
    threads=(storer, remounter),
    mounts=(FILES,),
    sometimes=(remount_granted, remount_refused),
    expect={OTHERS: HOLDS},
)
