"""chattr +i on a file of an ext4 that is still mapped writable, and whose pages a device reads.

Linux asks nobody, and the mapping stays as it is: S_IMMUTABLE is looked at when a file is opened.  That is safe here,
for nobody stores any more and the device only reads; a design that promises more refuses until the munmap.

    user     unmaps the file
    admin    makes it immutable, opens it for writing, reads it twice
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EPERM,
    FS_IMMUTABLE_FL,
    MAP_SHARED,
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

FILES = Mount("disk", "ext4")
SLOW = Device("slow")


@attrs.frozen
class Shared:
    reading: int
    buffer: int


@attrs.frozen
class Seen:
    answer: int
    opened: int
    first: bytes | int
    second: bytes | int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.open(FILES, "frame", O_RDWR | O_CREAT)
    await sys.pwrite(fd, fill(b"orig"))
    reading = await sys.open(FILES, "frame", O_RDONLY)
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.submit_direct_write(SLOW, buffer)
    await sys.close(fd)
    return Shared(reading, buffer)


async def user(sys: Syscalls, shared: Shared) -> None:
    await sys.munmap(shared.buffer)


async def admin(sys: Syscalls, shared: Shared) -> Seen:
    answer = await sys.chattr(shared.reading, FS_IMMUTABLE_FL)
    opened = await sys.open(FILES, "frame", O_RDWR)
    return Seen(answer, opened, await sys.pread(shared.reading, PAGE_SIZE), await sys.pread(shared.reading, PAGE_SIZE))


def immutable_content_never_changes(admin: Seen) -> bool:
    return admin.answer != 0 or admin.first == admin.second == fill(b"orig")


def nobody_opens_it_to_write(admin: Seen) -> bool:
    return admin.answer != 0 or admin.opened == -EPERM


def made_immutable(admin: Seen) -> bool:
    return admin.answer == 0


scenario = Scenario(
    question="immutable",
    sibling="immutable_with_a_pin_left_on_ext4",
    setup=setup,
    threads=(user, admin),
    mounts=(FILES,),
    devices=(SLOW,),
    always=(immutable_content_never_changes, nobody_opens_it_to_write),
    sometimes=(made_immutable,),
    expect={OTHERS: HOLDS},
    release="v6.18",
)
