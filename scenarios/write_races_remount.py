"""A write and the close of its file race a remount read-only of an ext4: what was written is on the disk before.

As `open_races_remount`, but the writer leaves while the remount looks, and the flusher is under way.

    writer       writes the file and closes it
    remounter    remounts read-only
"""

from __future__ import annotations

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EBUSY,
    MS_RDONLY,
    O_CREAT,
    O_RDWR,
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
    return fd


async def writer(sys: Syscalls, fd: int) -> int:
    await sys.pwrite(fd, fill(b"late"))
    return await sys.close(fd)


async def remounter(sys: Syscalls, _: int) -> tuple[int, bytes]:
    return await sys.remount(FILES, MS_RDONLY), await sys.disk_contents(FILES, "frame")


def what_was_written_is_on_the_disk(remounter: tuple[int, bytes]) -> bool:
    return remounter[0] != 0 or remounter[1] == fill(b"late")


def remount_granted(remounter: tuple[int, bytes]) -> bool:
    return remounter[0] == 0


def remount_refused(remounter: tuple[int, bytes]) -> bool:
    return remounter[0] == -EBUSY


scenario = Scenario(
    question="remount",
    sibling="remount_reaches_the_disk",
    setup=setup,
    threads=(writer, remounter),
    mounts=(FILES,),
    always=(what_was_written_is_on_the_disk,),
    sometimes=(remount_granted, remount_refused),
    expect={OTHERS: HOLDS},
)
