"""A store makes a page writable between ext4's writeback and the flag: what chattr +i write-protected, it may store to.

As `write_races_chattr`, but through a mapping, which asks only when it faults.

    storer    stores through a mapping that was written back, then drops it
    admin     makes the file immutable, then reads it twice
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
    Mount,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS, VIOLATED

FILES = Mount("disk", "ext4")


@attrs.frozen
class Shared:
    fd: int
    window: int


@attrs.frozen
class Seen:
    answer: int
    first: bytes | int
    second: bytes | int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.open(FILES, "frame", O_RDWR | O_CREAT)
    await sys.pwrite(fd, fill(b"orig"))
    await sys.sync()
    return Shared(fd, await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED))


async def storer(sys: Syscalls, shared: Shared) -> object:
    stored = await sys.store(shared.window, fill(b"late"))
    await sys.munmap(shared.window)
    return stored


async def admin(sys: Syscalls, shared: Shared) -> Seen:
    answer = await sys.chattr(shared.fd, FS_IMMUTABLE_FL)
    return Seen(answer, await sys.pread(shared.fd, PAGE_SIZE), await sys.pread(shared.fd, PAGE_SIZE))


def immutable_content_never_changes(admin: Seen) -> bool:
    return admin.answer != 0 or admin.first == admin.second


def made_immutable(admin: Seen) -> bool:
    return admin.answer == 0


scenario = Scenario(
    question="immutable",
    setup=setup,
    threads=(storer, admin),
    mounts=(FILES,),
    always=(immutable_content_never_changes,),
    sometimes=(made_immutable,),
    expect={OTHERS: HOLDS, "sealing_v2": VIOLATED, "wait_for_pins": VIOLATED},
    release="v6.18",
    model_only=True,
)
