"""A direct read completes after the tmpfs whose file it fills was remounted read-only.

As `dio_completes_after_seal`, with the mount's count of writers in place of `i_mmap_writable`: a mapping holds its open
file and so the mount, a device holds only the page.

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
from mmsim.verdict import HOLDS, OTHERS, VIOLATED

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
    await sys.submit_direct_read(SLOW, buffer, fill(b"late"))
    await sys.munmap(buffer)
    await sys.close(fd)
    return reading


async def remounter(sys: Syscalls, reading: int) -> Seen:
    remounted = await sys.remount(FILES, MS_RDONLY)
    return Seen(remounted, await sys.pread(reading, PAGE_SIZE), await sys.pread(reading, PAGE_SIZE))


def read_only_content_never_changes(remounter: Seen) -> bool:
    return remounter.remounted != 0 or remounter.first == remounter.second


def remount_granted(remounter: Seen) -> bool:
    return remounter.remounted == 0


scenario = Scenario(
    question="remount",
    setup=setup,
    threads=(remounter,),
    mounts=(FILES,),
    devices=(SLOW,),
    always=(read_only_content_never_changes,),
    sometimes=(remount_granted,),
    expect={
        OTHERS: HOLDS,
        "sealing_v2": VIOLATED,
        "wait_for_pins": VIOLATED,  # Linux asks nobody before it promises this
        "delayed_unmap_mutex": VIOLATED,
        "delayed_unmap_irq_lock": VIOLATED,
    },
    model_only=True,
)
