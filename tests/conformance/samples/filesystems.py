"""Who keeps a tmpfs or an ext4 from being remounted read-only, and what chattr +i stops on an ext4."""

from __future__ import annotations

from typing import Any

from mmsim.scenario import Scenario, process
from mmsim.syscalls import (
    EBUSY,
    EINVAL,
    ENOENT,
    EPERM,
    EROFS,
    FS_IMMUTABLE_FL,
    MAP_PRIVATE,
    MAP_SHARED,
    MS_RDONLY,
    O_CREAT,
    O_RDONLY,
    O_RDWR,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    SIGBUS,
    Mount,
    Syscalls,
    fill,
)

TMP, DISK, OTHER_DISK = Mount("tmp"), Mount("disk", "ext4"), Mount("other", "ext4")
ORIG, LATE = fill(b"orig"), fill(b"late")


async def setup(sys: Syscalls) -> int:
    return 0


async def remounts(sys: Syscalls, mount: Mount) -> tuple[Any, ...]:
    nothing = await sys.open(mount, "frame", O_RDWR)
    fd = await sys.open(mount, "frame", O_RDWR | O_CREAT)
    await sys.pwrite(fd, ORIG)
    window = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    descriptor_and_mapping = await sys.remount(mount, MS_RDONLY)
    await sys.close(fd)
    mapping_alone = await sys.remount(mount, MS_RDONLY)
    await sys.munmap(window)
    nobody = await sys.remount(mount, MS_RDONLY)
    refused = await sys.open(mount, "frame", O_RDWR), await sys.open(mount, "new", O_RDWR | O_CREAT)
    fd = await sys.open(mount, "frame", O_RDONLY)
    reopened = await sys.reopen(fd, O_RDWR), await sys.ftruncate(fd, 0)
    await sys.remount(mount, 0)
    window = await sys.mmap(fd, PROT_READ, MAP_SHARED)
    reader = await sys.remount(mount, MS_RDONLY)
    await sys.remount(mount, 0)
    await sys.munmap(window)
    writer = await sys.reopen(fd, O_RDWR)
    window = await sys.mmap(writer, PROT_READ | PROT_WRITE, MAP_PRIVATE)
    await sys.close(writer)
    private = await sys.remount(mount, MS_RDONLY)
    await sys.munmap(window)
    content = await sys.pread(fd, PAGE_SIZE)
    return (
        nothing,
        descriptor_and_mapping,
        mapping_alone,
        nobody,
        refused,
        reopened,
        reader,
        private,
        content,
    )


async def on_tmpfs(sys: Syscalls, _: int) -> tuple[Any, ...]:
    return await remounts(sys, TMP)


async def on_ext4(sys: Syscalls, _: int) -> tuple[Any, ...]:
    return await remounts(sys, DISK)


async def immutable(sys: Syscalls, _: int) -> tuple[Any, ...]:
    fd = await sys.open(OTHER_DISK, "frame", O_RDWR | O_CREAT)
    await sys.pwrite(fd, ORIG)
    window = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    stored = await sys.store(window, ORIG)
    made = await sys.chattr(fd, FS_IMMUTABLE_FL)
    stopped = (
        await sys.store(window, LATE),
        await sys.pwrite(fd, LATE),
        await sys.ftruncate(fd, 0),
        await sys.open(OTHER_DISK, "frame", O_RDWR),
    )
    content = await sys.pread(fd, PAGE_SIZE)
    unmade = await sys.chattr(fd, 0)
    written = await sys.pwrite(fd, LATE)
    await sys.sync()
    return stored, made, stopped, content, unmade, written, await sys.disk_contents(OTHER_DISK, "frame")


REMOUNTS = (-ENOENT, -EBUSY, -EBUSY, 0, (-EROFS, -EROFS), (-EROFS, -EINVAL), 0, -EBUSY, ORIG)
expected = {
    on_tmpfs: REMOUNTS,
    on_ext4: REMOUNTS,
    immutable: (None, 0, (SIGBUS, -EPERM, -EPERM, -EPERM), ORIG, 0, PAGE_SIZE, LATE),
}
"""What Linux 6.18 answered by hand."""

MOUNTS = (TMP, DISK, OTHER_DISK)
together = Scenario(setup=setup, threads=tuple(process(case) for case in expected), mounts=MOUNTS)
alone = {case.__name__: Scenario(setup=setup, threads=(case,), mounts=MOUNTS) for case in expected}
