"""Files on mounts, remounting and chattr, against what real kernels answered."""

from __future__ import annotations

import pytest

from mmsim.check import Test, check
from mmsim.kernel.releases import V3_17
from mmsim.scenario import Scenario
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.syscalls import (
    EACCES,
    EBADF,
    EBUSY,
    EFAULT,
    EINVAL,
    ENOENT,
    ENOTTY,
    EPERM,
    EROFS,
    F_SEAL_SEAL,
    F_SEAL_WRITE,
    FS_IMMUTABLE_FL,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    MS_RDONLY,
    O_CREAT,
    O_RDONLY,
    O_RDWR,
    O_TRUNC,
    O_WRONLY,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    SIGBUS,
    Device,
    Mount,
    fill,
)
from mmsim.verdict import Holds
from tests.kernel.alone import alone

RW = PROT_READ | PROT_WRITE
TMP, DISK = Mount("tmp", "tmpfs"), Mount("disk", "ext4")
SLOW = Device("slow")
EACH = pytest.mark.parametrize("mount", [TMP, DISK], ids=["tmpfs", "ext4"])


async def opened(sys, mount, flags=O_RDWR, pages=1):
    fd = await sys.open(mount, "f", O_RDWR | O_CREAT)
    await sys.pwrite(fd, fill(b"orig", pages))
    if flags == O_RDWR:
        return fd
    await sys.close(fd)
    return await sys.open(mount, "f", flags)


@EACH
def test_opening(mount):
    async def caller(sys, _):
        missing = await sys.open(mount, "f", O_RDWR)
        read_only = await opened(sys, mount, O_RDONLY)
        write_only = await sys.open(mount, "f", O_WRONLY)
        answers = (
            await sys.pread(read_only, 4),
            await sys.pwrite(read_only, b"x"),
            await sys.write(read_only, b"x"),
            await sys.ftruncate(read_only, 0),
            await sys.pread(write_only, 4),
            await sys.read(write_only, 4),
            await sys.mmap(read_only, RW, MAP_SHARED),
            await sys.mmap(write_only, PROT_WRITE, MAP_SHARED),
            await sys.mmap(write_only, PROT_READ, MAP_PRIVATE),
        )
        truncated = await sys.open(mount, "f", O_RDWR | O_TRUNC)
        return missing, answers, await sys.pread(truncated, 4)

    bad = (b"orig", -EBADF, -EBADF, -EINVAL, -EBADF, -EBADF, -EACCES, -EACCES, -EACCES)
    assert alone(caller, mounts=(mount,)) == (-ENOENT, bad, b"")


def test_a_memfd_opened_again_shares_seals_and_content():
    async def caller(sys, _):
        fd = await sys.memfd_create("f", MFD_ALLOW_SEALING)
        await sys.pwrite(fd, b"orig")
        again = await sys.reopen(fd, O_RDONLY)
        window = await sys.mmap(again, PROT_READ, MAP_SHARED)
        seen = await sys.load(window, 4), await sys.pwrite(again, b"x"), await sys.add_seals(again, F_SEAL_SEAL)
        await sys.add_seals(fd, 8)  # a mapping of a read-only file does not count
        return seen, await sys.get_seals(again), await sys.pwrite(await sys.reopen(fd, O_RDWR), b"x")

    assert alone(caller) == ((b"orig", -EBADF, -EPERM), 8, -EPERM)


@EACH
def test_remount_counts_writers(mount):
    async def caller(sys, _):
        fd = await opened(sys, mount)
        window = await sys.mmap(fd, RW, MAP_SHARED)
        await sys.store(window, b"late")
        with_both = await sys.remount(mount, MS_RDONLY)
        await sys.close(fd)
        mapping_only = await sys.remount(mount, MS_RDONLY)
        await sys.munmap(window)
        left = await sys.remount(mount, MS_RDONLY)
        refused = await sys.open(mount, "f", O_RDWR), await sys.open(mount, "new", O_CREAT), await sys.reopen(99, 0)
        reader = await sys.open(mount, "f", O_RDONLY)
        flags = await sys.chattr(reader, FS_IMMUTABLE_FL)
        seen = await sys.pread(reader, 4)
        again = await sys.remount(mount, MS_RDONLY), await sys.remount(mount, 0)
        return with_both, mapping_only, left, refused, flags, seen, again, await sys.open(mount, "f", O_RDWR) > 0

    busy = (-EBUSY, -EBUSY, 0, (-EROFS, -EROFS, -ENOENT), -EROFS, b"late", (0, 0), True)
    assert alone(caller, mounts=(mount,), release="v6.18") == busy


@EACH
@pytest.mark.parametrize(("flags", "sharing", "expected"), [(O_RDWR, MAP_PRIVATE, -EBUSY), (O_RDONLY, MAP_SHARED, 0)])
def test_remount_counts_files_not_mappings(mount, flags, sharing, expected):
    async def caller(sys, _):
        fd = await opened(sys, mount, flags)
        await sys.mmap(fd, PROT_READ, sharing)
        await sys.close(fd)
        return await sys.remount(mount, MS_RDONLY)

    assert alone(caller, mounts=(mount,)) == expected


@EACH
def test_parts_of_a_mapping_hold_the_file_each(mount):
    async def caller(sys, _):
        fd = await opened(sys, mount, pages=3)
        window = await sys.mmap(fd, RW, MAP_SHARED, 3 * PAGE_SIZE)
        copy = await sys.dup(fd)
        await sys.close(fd)
        await sys.close(copy)
        await sys.munmap(window + PAGE_SIZE)
        await sys.munmap(window)
        third = await sys.remount(mount, MS_RDONLY)
        await sys.munmap(window, 3 * PAGE_SIZE)
        return third, await sys.remount(mount, MS_RDONLY)

    assert alone(caller, mounts=(mount,)) == (-EBUSY, 0)


def immutable(mount, release):
    async def caller(sys, _):
        fd = await opened(sys, mount, pages=2)
        window = await sys.mmap(fd, RW, MAP_SHARED, 2 * PAGE_SIZE)
        await sys.store(window, b"1")
        answer = await sys.chattr(fd, FS_IMMUTABLE_FL)
        if answer or mount is TMP:
            return answer
        return (
            answer,
            await sys.store(window, b"2"),
            await sys.store(window + PAGE_SIZE, b"2"),
            await sys.pwrite(fd, b"W"),
            await sys.ftruncate(fd, 1),
            await sys.mmap(fd, RW, MAP_SHARED) > 0,
            await sys.open(mount, "f", O_RDWR),
            await sys.submit_direct_read(SLOW, window, b"late"),
            await sys.chattr(fd, 0),
            await sys.pwrite(fd, b"W"),
        )

    return alone(caller, mounts=(mount,), release=release, devices=(SLOW,))


def test_chattr_on_ext4_refuses_those_who_have_the_file_open():
    refused = (0, SIGBUS, SIGBUS, -EPERM, -EPERM, True, -EPERM, -EFAULT, 0, 1)
    assert immutable(DISK, "v6.18") == refused


def test_chattr_on_tmpfs():
    assert immutable(TMP, "v5.10") == -ENOTTY
    assert immutable(TMP, "v6.18") == 0  # and stops neither stores nor pwrite: a violation, see the scenarios


def test_writeback_and_the_disk():
    async def caller(sys, _):
        fd = await opened(sys, DISK, pages=2)
        await sys.sync()
        first = (await sys.disk_contents(DISK, "f"))[:4]
        window = await sys.mmap(fd, RW, MAP_SHARED)
        seen = await sys.load(window, 4)
        await sys.store(window, b"late")
        await sys.sync()
        second = (await sys.disk_contents(DISK, "f"))[:4]
        await sys.store(window, b"next")  # asks the file system again
        await sys.sync()
        third = (await sys.disk_contents(DISK, "f"))[:4]
        cut = await sys.ftruncate(fd, 2), await sys.ftruncate(fd, PAGE_SIZE)
        await sys.sync()
        return first, seen, second, third, cut, (await sys.disk_contents(DISK, "f"))[:4]

    assert alone(caller, mounts=(DISK,)) == (b"orig", b"orig", b"late", b"next", (0, 0), b"ne\0\0")


def test_a_file_on_a_tmpfs_is_born_sealed_against_seals():
    async def caller(sys, _):
        fd = await opened(sys, TMP)
        return await sys.get_seals(fd), await sys.add_seals(fd, F_SEAL_WRITE)

    assert alone(caller, mounts=(TMP,)) == (F_SEAL_SEAL, -EPERM)


def test_a_file_can_be_closed_and_its_mount_remounted_while_it_is_opened_again():
    """/proc/self/fd gives the path, and keeps nobody from ending the right to write that the descriptor had."""

    async def setup(sys):
        return await opened(sys, TMP)

    async def opener(sys, fd):
        return await sys.reopen(fd, O_RDWR)

    async def remounter(sys, fd):
        return await sys.close(fd), await sys.remount(TMP, MS_RDONLY)

    found = check(Test("t", Scenario(setup=setup, threads=(opener, remounter), mounts=(TMP,)), wait_for_pins, V3_17))
    assert isinstance(found, Holds)
    answers = {dict(outcome)["opener"] for outcome in found.outcomes if dict(outcome)["remounter"] == (0, 0)}
    assert answers == {-ENOENT, -EROFS}
