"""A file is opened for writing while its mount is remounted read-only: at most one of the two wins.

The opener counts himself before he looks, the remount shows its hold before it counts.

    opener       opens the file for writing and writes it
    remounter    remounts read-only
"""

from __future__ import annotations

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EBUSY,
    EROFS,
    MS_RDONLY,
    O_CREAT,
    O_RDWR,
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
    return 0


async def opener(sys: Syscalls, _: int) -> int:
    fd = await sys.open(FILES, "frame", O_RDWR)
    return fd if fd < 0 else await sys.pwrite(fd, fill(b"late"))


async def remounter(sys: Syscalls, _: int) -> int:
    return await sys.remount(FILES, MS_RDONLY)


def remount_granted(remounter: int) -> bool:
    return remounter == 0


def remount_refused(remounter: int) -> bool:
    return remounter == -EBUSY


def never_both(opener: int, remounter: int) -> bool:
    return opener < 0 or remounter != 0


def opening_refused(opener: int) -> bool:
    return opener == -EROFS


scenario = Scenario(
    question="remount",
    sibling="remount_with_a_pin_left",
    setup=setup,
    threads=(opener, remounter),
    mounts=(FILES,),
    always=(never_both,),
    sometimes=(remount_granted, remount_refused, opening_refused),
    expect={OTHERS: HOLDS},
)
