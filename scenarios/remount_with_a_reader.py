"""A remount read-only is granted while a file that is open for reading is mapped shared.

As `remount_with_only_a_mapping`, but the file was opened for reading.

    loader       reads the mapping
    remounter    remounts read-only
"""

from __future__ import annotations

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EBUSY,
    MAP_SHARED,
    MS_RDONLY,
    O_CREAT,
    O_RDONLY,
    O_RDWR,
    PROT_READ,
    Mount,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS

FILES = Mount("tmp", "tmpfs")


async def setup(sys: Syscalls) -> int:
    fd = await sys.open(FILES, "frame", O_RDWR | O_CREAT)
    await sys.pwrite(fd, fill(b"orig"))
    await sys.close(fd)
    fd = await sys.open(FILES, "frame", O_RDONLY)
    window = await sys.mmap(fd, PROT_READ, MAP_SHARED)
    await sys.close(fd)
    return window


async def loader(sys: Syscalls, window: int) -> object:
    return await sys.load(window)


async def remounter(sys: Syscalls, _: int) -> int:
    return await sys.remount(FILES, MS_RDONLY)


def remount_granted(remounter: int) -> bool:
    return remounter == 0


def refused_although_nobody_can_write(remounter: int) -> bool:
    return remounter == -EBUSY


def the_mapping_shows_the_file(loader: object) -> bool:
    return loader == fill(b"orig")


scenario = Scenario(
    question="remount",
    sibling="remount_with_a_pin_left",
    setup=setup,
    threads=(loader, remounter),
    mounts=(FILES,),
    always=(the_mapping_shows_the_file,),
    sometimes=(remount_granted,),
    needless=(refused_although_nobody_can_write,),
    expect={OTHERS: HOLDS},
)
