"""fallocate(): holes that are punched and pages that are allocated, and pins of what was punched out."""

from __future__ import annotations

import pytest

from mmsim.syscalls import (
    EBADF,
    F_SEAL_WRITE,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    MAP_PRIVATE,
    MAP_SHARED,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Device,
    fill,
)
from tests.kernel.alone import alone, filled

RW = PROT_READ | PROT_WRITE
PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE


@pytest.mark.parametrize("words", [1, 4])
def test_holes(words):
    async def caller(sys, _):
        fd = await filled(sys, 3, b"o")
        window = await sys.mmap(fd, RW, MAP_SHARED, 3 * PAGE_SIZE)
        await sys.store(window, b"x")
        within = await sys.fallocate(fd, PUNCH, 10, 20), await sys.pread(fd, 32), await sys.load(window + 9, 2)
        across = await sys.fallocate(fd, PUNCH, PAGE_SIZE - 1, PAGE_SIZE + 2)
        seen = await sys.pread(fd, 4, PAGE_SIZE - 2), await sys.pread(fd, 4, 2 * PAGE_SIZE - 1)
        await sys.store(window + PAGE_SIZE, b"new")
        beyond = await sys.fallocate(fd, PUNCH, 2 * PAGE_SIZE, 5 * PAGE_SIZE), await sys.pread(fd, 9, 3 * PAGE_SIZE - 2)
        return within, across, seen, await sys.pread(fd, 3, PAGE_SIZE), beyond

    zero = b"\0"
    assert alone(caller, words=words) == (
        (0, b"x" + b"o" * 9 + zero * 20 + b"oo", b"o" + zero),
        0,
        (b"o" + zero * 3, zero * 2 + b"oo"),
        b"new",
        (0, zero * 2),
    )


def test_allocating():
    async def caller(sys, _):
        fd = await filled(sys)
        return (
            await sys.fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 4 * PAGE_SIZE),
            len(await sys.pread(fd, 9 * PAGE_SIZE)),
            await sys.fallocate(fd, 0, PAGE_SIZE, 2 * PAGE_SIZE),
            await sys.pread(fd, 9 * PAGE_SIZE) == fill(b"orig") + bytes(2 * PAGE_SIZE),
            await sys.fallocate(99, 0, 0, 1),
            await sys.fchmod(99, 0),
        )

    assert alone(caller) == (0, PAGE_SIZE, 0, True, -EBADF, -EBADF)


def test_a_pinned_page_that_was_punched_out_is_the_files_no_more():
    async def caller(sys, _):
        fd = await filled(sys)
        window = await sys.mmap(fd, RW, MAP_SHARED)
        io = await sys.submit_direct_read(Device("disk"), window, fill(b"late"))
        await sys.munmap(window)
        punched = await sys.fallocate(fd, PUNCH, 0, PAGE_SIZE)
        sealed = await sys.add_seals(fd, F_SEAL_WRITE)
        await sys.wait_for(io)
        return punched, sealed, await sys.pread(fd, 4)

    assert alone(caller, devices=(Device("disk"),)) == (0, 0, bytes(4))


def test_a_hole_is_found_through_a_mapping_that_begins_elsewhere():
    async def caller(sys, _):
        fd = await filled(sys, 3)
        await sys.mmap(fd, RW, MAP_SHARED)
        window = await sys.mmap(fd, RW, MAP_SHARED, 2 * PAGE_SIZE, PAGE_SIZE)
        await sys.store(window, b"2nd.")
        await sys.store(window + PAGE_SIZE, b"3rd.")
        moved = await sys.move_pages(window + PAGE_SIZE), await sys.load(window + PAGE_SIZE, 4)
        punched = await sys.fallocate(fd, PUNCH, 2 * PAGE_SIZE, PAGE_SIZE)
        return moved, punched, await sys.load(window, 4), await sys.load(window + PAGE_SIZE, 4)

    assert alone(caller) == ((0, b"3rd."), 0, b"2nd.", bytes(4))


def test_a_hole_leaves_private_copies_alone():
    async def caller(sys, _):
        fd = await filled(sys)
        window = await sys.mmap(fd, RW, MAP_PRIVATE)
        await sys.store(window, b"mine")
        return await sys.fallocate(fd, PUNCH, 0, PAGE_SIZE), await sys.load(window, 4), await sys.pread(fd, 4)

    assert alone(caller) == (0, b"mine", bytes(4))
