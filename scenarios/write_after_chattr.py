"""A descriptor that was open when its file of an ext4 became immutable: may it still write?  Up to v5.3 it may.

As `write_races_chattr`, but one call after the other.

    admin    makes the file immutable, writes it, reads it
"""

from __future__ import annotations

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EPERM,
    FS_IMMUTABLE_FL,
    O_CREAT,
    O_RDWR,
    Mount,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, VIOLATED

FILES = Mount("disk", "ext4")


async def setup(sys: Syscalls) -> int:
    fd = await sys.open(FILES, "frame", O_RDWR | O_CREAT)
    await sys.pwrite(fd, fill(b"orig"))
    return fd


async def admin(sys: Syscalls, fd: int) -> tuple[int, int]:
    return await sys.chattr(fd, FS_IMMUTABLE_FL), await sys.pwrite(fd, fill(b"late"))


def immutable_files_are_not_written(admin: tuple[int, int]) -> bool:
    return admin[1] == -EPERM


def made_immutable(admin: tuple[int, int]) -> bool:
    return admin[0] == 0


scenario = Scenario(
    question="history",
    setup=setup,
    threads=(admin,),
    mounts=(FILES,),
    always=(immutable_files_are_not_written,),
    sometimes=(made_immutable,),
    history={"v5.1": VIOLATED, "v5.3": HOLDS},
    model_only=True,
)
