"""A write through a descriptor that is open already races chattr +i on an ext4, which asks under the inode's lock.

Whoever comes second sees the first.

    writer    writes the file
    admin     makes the file immutable, then reads it twice
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EPERM,
    FS_IMMUTABLE_FL,
    O_CREAT,
    O_RDWR,
    PAGE_SIZE,
    Mount,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS

FILES = Mount("disk", "ext4")


@attrs.frozen
class Seen:
    answer: int
    first: bytes | int
    second: bytes | int


async def setup(sys: Syscalls) -> int:
    fd = await sys.open(FILES, "frame", O_RDWR | O_CREAT)
    await sys.pwrite(fd, fill(b"orig"))
    return fd


async def writer(sys: Syscalls, fd: int) -> int:
    return await sys.pwrite(fd, fill(b"late"))


async def admin(sys: Syscalls, fd: int) -> Seen:
    answer = await sys.chattr(fd, FS_IMMUTABLE_FL)
    return Seen(answer, await sys.pread(fd, PAGE_SIZE), await sys.pread(fd, PAGE_SIZE))


def immutable_content_never_changes(admin: Seen) -> bool:
    return admin.answer != 0 or admin.first == admin.second


def made_immutable(admin: Seen) -> bool:
    return admin.answer == 0


def write_refused(writer: int) -> bool:
    return writer == -EPERM


scenario = Scenario(
    question="immutable",
    sibling="write_races_chattr_on_tmpfs",
    setup=setup,
    threads=(writer, admin),
    mounts=(FILES,),
    always=(immutable_content_never_changes,),
    sometimes=(made_immutable, write_refused),
    expect={OTHERS: HOLDS},
    release="v6.18",
)
