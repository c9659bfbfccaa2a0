"""A direct write is in flight from a file of a tmpfs when its mount is remounted read-only: the device only reads.

As `remount_with_a_pin_left`, in the other direction.  The remount is safe at once, and a design that cannot tell a
reader's pin from a writer's refuses it, or waits, without need.

    remounter    remounts read-only while nothing but the device's pin is left, then reads the file twice
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    MAP_SHARED,
    MS_RDONLY,
    O_CREAT,
    O_RDONLY,
    O_RDWR,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Device,
    Mount,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS

FILES = Mount("tmp", "tmpfs")
SLOW = Device("slow")


@attrs.frozen
class Seen:
    remounted: int
    first: bytes | int
    second: bytes | int


async def setup(sys: Syscalls) -> int:
    fd = await sys.open(FILES, "frame", O_RDWR | O_CREAT)
    await sys.pwrite(fd, fill(b"orig"))
    await sys.sync()
    reading = await sys.open(FILES, "frame", O_RDONLY)
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.submit_direct_write(SLOW, buffer)
    await sys.munmap(buffer)
    await sys.close(fd)
    return reading


async def remounter(sys: Syscalls, reading: int) -> Seen:
    remounted = await sys.remount(FILES, MS_RDONLY)
    return Seen(remounted, await sys.pread(reading, PAGE_SIZE), await sys.pread(reading, PAGE_SIZE))


def read_only_content_never_changes(remounter: Seen) -> bool:
    return remounter.remounted != 0 or remounter.first == remounter.second == fill(b"orig")


def remount_granted(remounter: Seen) -> bool:
    return remounter.remounted == 0


def remount_refused_for_a_reader(remounter: Seen) -> bool:
    return remounter.remounted != 0


scenario = Scenario(
    question="remount",
    sibling="remount_with_a_pin_left",
    setup=setup,
    threads=(remounter,),
    mounts=(FILES,),
    devices=(SLOW,),
    always=(read_only_content_never_changes,),
    sometimes=(remount_granted,),
    needless=(remount_refused_for_a_reader,),
    expect={OTHERS: HOLDS},
)
