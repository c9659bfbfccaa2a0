"""A direct read completes after the file of a tmpfs that it fills was made immutable.

As `remount_with_a_pin_left`, with chattr +i for the remount.

    admin    makes the file immutable while nothing but the device's pin is left, then reads it twice
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    FS_IMMUTABLE_FL,
    MAP_SHARED,
    O_CREAT,
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
    answer: int
    first: bytes | int
    second: bytes | int


async def setup(sys: Syscalls) -> int:
    fd = await sys.open(FILES, "frame", O_RDWR | O_CREAT)
    await sys.pwrite(fd, fill(b"orig"))
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.submit_direct_read(SLOW, buffer, fill(b"late"))
    await sys.munmap(buffer)
    return fd


async def admin(sys: Syscalls, fd: int) -> Seen:
    answer = await sys.chattr(fd, FS_IMMUTABLE_FL)
    return Seen(answer, await sys.pread(fd, PAGE_SIZE), await sys.pread(fd, PAGE_SIZE))


def immutable_content_never_changes(admin: Seen) -> bool:
    return admin.answer != 0 or admin.first == admin.second


def made_immutable(admin: Seen) -> bool:
    return admin.answer == 0


scenario = Scenario(
    question="immutable",
    setup=setup,
    threads=(admin,),
    mounts=(FILES,),
    devices=(SLOW,),
    always=(immutable_content_never_changes,),
    sometimes=(made_immutable,),
    expect={
        OTHERS: HOLDS,
        "sealing_v2": VIOLATED,
        "wait_for_pins": VIOLATED,  # Linux asks nobody before it promises this
        "delayed_unmap_mutex": VIOLATED,
        "delayed_unmap_irq_lock": VIOLATED,
    },
    release="v6.18",
    model_only=True,
)
