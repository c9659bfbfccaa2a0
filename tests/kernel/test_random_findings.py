"""What random programs on Linux 6.18.44 showed the model to have wrong, each as the sequence of calls that did."""

from __future__ import annotations

import pytest

from mmsim.syscalls import (
    EFAULT,
    EINVAL,
    ENOENT,
    EOPNOTSUPP,
    F_SEAL_WRITE,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    MAP_FIXED,
    MAP_PRIVATE,
    MAP_SHARED,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    O_RDONLY,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    SIGBUS,
    SIGSEGV,
)
from tests.kernel.alone import alone, filled

NOW = "v6.18.44"
RW = PROT_READ | PROT_WRITE
MOVE = MREMAP_MAYMOVE | MREMAP_FIXED
HERE, THERE = 0x100000, 0x200000


async def mapped(sys, fd, pages, at, flags=MAP_SHARED):
    assert await sys.mmap(fd, RW, flags | MAP_FIXED, pages * PAGE_SIZE, 0, at) == at
    return at


def test_fallocate_judges_its_range_before_the_descriptor():
    async def thread(sys, _shared):
        fd = await filled(sys)
        read_only = await sys.reopen(fd, O_RDONLY)
        return (
            await sys.fallocate(read_only, FALLOC_FL_KEEP_SIZE, 0, 0),
            await sys.fallocate(read_only, FALLOC_FL_PUNCH_HOLE, 0, 1),
        )

    assert alone(thread, release=NOW) == (-EINVAL, -EOPNOTSUPP)


def test_truncation_takes_private_copies_away_and_a_hole_does_not():
    async def thread(sys, _shared):
        fd = await filled(sys, 2)
        at = await mapped(sys, fd, 2, HERE, MAP_PRIVATE)
        await sys.store(at, b"mine")
        await sys.store(at + PAGE_SIZE, b"mine")
        await sys.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE_SIZE)
        await sys.ftruncate(fd, PAGE_SIZE)
        return await sys.load(at, 4), await sys.load(at + PAGE_SIZE, 4)

    assert alone(thread, release=NOW) == (b"mine", SIGBUS)


@pytest.mark.parametrize(("release", "rest"), [("v3.17", b"CCC"), (NOW, b"\0\0\0")])
def test_truncation_to_the_same_size_zeroes_the_rest_of_the_page(release, rest):
    async def thread(sys, _shared):
        fd = await sys.memfd_create("file")
        await sys.ftruncate(fd, 1)
        at = await mapped(sys, fd, 1, HERE)
        await sys.store(at, b"CCCC")
        await sys.ftruncate(fd, 1)
        return await sys.load(at, 4)

    assert alone(thread, release=release) == b"C" + rest


def test_mprotect_that_changes_nothing_splits_nothing():
    async def thread(sys, _shared):
        at = await mapped(sys, await filled(sys, 2), 2, HERE)
        await sys.mprotect(at + PAGE_SIZE, PAGE_SIZE, RW)
        return await sys.mremap(at, 2 * PAGE_SIZE, 3 * PAGE_SIZE, MOVE, THERE)

    assert alone(thread, release=NOW) == THERE


def test_reopening_what_is_not_open():
    async def thread(sys, _shared):
        return await sys.reopen(5, O_RDONLY)

    assert alone(thread, release=NOW) == -ENOENT


def test_mremap_to_a_place():
    async def thread(sys, _shared):
        at = await mapped(sys, await filled(sys, 2, b"here"), 2, HERE)
        await mapped(sys, await filled(sys, 1, b"gone"), 1, THERE)
        return (
            await sys.mremap(at, PAGE_SIZE, PAGE_SIZE, MREMAP_FIXED, THERE),
            await sys.mremap(at, PAGE_SIZE, PAGE_SIZE, MOVE, THERE + 1),
            await sys.mremap(at, 2 * PAGE_SIZE, 2 * PAGE_SIZE, MOVE, at + PAGE_SIZE),
            await sys.mremap(at, 2 * PAGE_SIZE, PAGE_SIZE, MOVE, THERE),
            await sys.load(THERE, 4),
            await sys.load(THERE + PAGE_SIZE, 4),
            await sys.load(at, 4),
            await sys.load(at + PAGE_SIZE, 4),
        )

    refused = (-EINVAL,) * 3
    assert alone(thread, release=NOW) == (*refused, THERE, b"here", SIGSEGV, SIGSEGV, SIGSEGV)


@pytest.mark.parametrize(("release", "target"), [("v6.16", SIGSEGV), (NOW, b"orig")])
def test_mremap_that_fails_leaves_its_target(release, target):
    async def thread(sys, _shared):
        await mapped(sys, await filled(sys), 1, HERE)
        await mapped(sys, await filled(sys), 1, THERE)
        return await sys.mremap(HERE, 2 * PAGE_SIZE, 3 * PAGE_SIZE, MOVE, THERE), await sys.load(THERE, 4)

    assert alone(thread, release=release) == (-EFAULT, target)


def test_mremap_of_several_mappings_leaves_what_their_gap_is_moved_to():
    async def thread(sys, _shared):
        fd = await filled(sys, 1, b"here")
        await mapped(sys, fd, 1, HERE)
        await mapped(sys, fd, 1, HERE + 2 * PAGE_SIZE)
        await mapped(sys, await filled(sys, 3, b"gone"), 3, THERE)
        moved = await sys.mremap(HERE, 3 * PAGE_SIZE, 3 * PAGE_SIZE, MOVE, THERE)
        return moved, [await sys.load(THERE + page * PAGE_SIZE, 4) for page in range(3)]

    assert alone(thread, release=NOW) == (THERE, [b"here", b"gone", b"here"])


@pytest.mark.parametrize(("release", "answer"), [("v5.15", HERE), ("v5.16", -EFAULT)])
def test_mremap_that_shrinks_nothing(release, answer):
    async def thread(sys, _shared):
        return await sys.mremap(HERE, 2 * PAGE_SIZE, PAGE_SIZE)

    assert alone(thread, release=release) == answer


@pytest.mark.parametrize("how", [(0, 0), (MOVE, THERE)])
def test_mremap_that_cuts_nothing_off_counts_nothing(how):
    async def thread(sys, _shared):
        fd = await filled(sys)
        await mapped(sys, fd, 3, HERE)
        await sys.mremap(HERE, PAGE_SIZE, PAGE_SIZE, *how)
        await sys.munmap(HERE, 3 * PAGE_SIZE)
        await sys.munmap(THERE, 3 * PAGE_SIZE)
        return await sys.add_seals(fd, F_SEAL_WRITE)

    assert alone(thread, release="v3.17") == alone(thread, release=NOW) == 0
