"""A tmpfs is remounted read-only and then writable again while a direct read is under way.

As `remount_with_a_pin_left`, but the promise is taken back, after which the device may write as it likes.

    remounter    remounts read-only, reads the file, remounts writable
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
    content: bytes | int
    back: int


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
    return Seen(remounted, await sys.pread(reading, PAGE_SIZE), await sys.remount(FILES, 0))


def it_can_be_written_again(remounter: Seen) -> bool:
    return remounter.back == 0


def remount_granted(remounter: Seen) -> bool:
    return remounter.remounted == 0


scenario = Scenario(
    question="remount",
    setup=setup,
    threads=(remounter,),
    mounts=(FILES,),
    devices=(SLOW,),
    always=(it_can_be_written_again,),
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
