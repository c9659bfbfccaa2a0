"""mprotect() and mremap(): mappings that change or move."""

from __future__ import annotations

from mmsim.syscalls import (
    EBUSY,
    EFAULT,
    EINVAL,
    ENOMEM,
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MAP_SHARED,
    MREMAP_MAYMOVE,
    MS_RDONLY,
    O_CREAT,
    O_RDWR,
    PAGE_SIZE,
    PROT_NONE,
    PROT_READ,
    PROT_WRITE,
    SIGBUS,
    SIGSEGV,
    Mount,
)
from tests.kernel.alone import alone, filled

RW = PROT_READ | PROT_WRITE
FILES = Mount("tmp")


def test_mprotect_of_parts():
    async def caller(sys, _):
        fd = await filled(sys, 3)
        window = await sys.mmap(fd, RW, MAP_SHARED, 3 * PAGE_SIZE)
        await sys.store(window + PAGE_SIZE, b"x")
        middle = window + PAGE_SIZE
        return [
            await sys.mprotect(middle, PAGE_SIZE, PROT_READ),
            await sys.store(middle, b"y"),
            await sys.load(middle, 1),
            await sys.store(window, b"z"),
            await sys.store(middle + PAGE_SIZE, b"z"),
            await sys.mprotect(middle, PAGE_SIZE, PROT_NONE),
            await sys.load(middle, 1),
            await sys.mprotect(window, 3 * PAGE_SIZE, RW),
            await sys.store(middle, b"w"),
            await sys.pread(fd, 1, PAGE_SIZE),
            await sys.mprotect(window, 4 * PAGE_SIZE, PROT_READ),
            await sys.mprotect(window + 1, PAGE_SIZE, PROT_READ),
            await sys.mprotect(window, 0, PROT_READ),
            await sys.munmap(window, 3 * PAGE_SIZE),
            await sys.mprotect(window, PAGE_SIZE, PROT_READ),
            await sys.add_seals(fd, F_SEAL_WRITE),
        ]

    assert alone(caller) == [
        0, SIGSEGV, b"x", None, None, 0, SIGSEGV, 0, None, b"w", -ENOMEM, -EINVAL, 0, 0, -ENOMEM, 0
    ]  # fmt: skip


def test_a_private_page_stays_private_through_mprotect():
    async def caller(sys, _):
        fd = await filled(sys)
        window = await sys.mmap(fd, RW, MAP_PRIVATE)
        await sys.store(window, b"mine")
        await sys.mprotect(window, PAGE_SIZE, PROT_READ)
        fault = await sys.store(window, b"no")
        await sys.mprotect(window, PAGE_SIZE, RW)
        await sys.store(window, b"more")
        return fault, await sys.load(window, 4), await sys.pread(fd, 4)

    assert alone(caller) == (SIGSEGV, b"more", b"orig")


def test_mremap():
    async def caller(sys, _):
        fd = await filled(sys, 2)
        window = await sys.mmap(fd, RW, MAP_SHARED)
        answers = [
            await sys.mremap(window, PAGE_SIZE, 2 * PAGE_SIZE) == window,  # nothing is in the way
            await sys.load(window + PAGE_SIZE, 4),
            await sys.mremap(window, 2 * PAGE_SIZE, 3 * PAGE_SIZE) == window,
            await sys.load(window + 2 * PAGE_SIZE, 1),  # beyond the end of the file
            await sys.mremap(window, 3 * PAGE_SIZE, PAGE_SIZE) == window,
            await sys.load(window + PAGE_SIZE, 1),
            await sys.mremap(window, PAGE_SIZE, 0),
            await sys.mremap(window + 1, PAGE_SIZE, PAGE_SIZE),
            await sys.mremap(window, PAGE_SIZE, PAGE_SIZE, 8),
            await sys.mremap(window, 2 * PAGE_SIZE, 3 * PAGE_SIZE),
            await sys.mremap(window + PAGE_SIZE, PAGE_SIZE, 2 * PAGE_SIZE, MREMAP_MAYMOVE),
        ]
        await sys.munmap(window)
        return [*answers, await sys.add_seals(fd, F_SEAL_WRITE)]

    assert alone(caller) == [
        True, b"orig", True, SIGBUS, True, SIGSEGV, -EINVAL, -EINVAL, -EINVAL, -EFAULT, -EFAULT, 0
    ]  # fmt: skip


def test_what_grew_where_it_is_is_truncated_there():
    async def caller(sys, _):
        fd = await filled(sys, 2)
        window = await sys.mmap(fd, RW, MAP_SHARED)
        grown = await sys.mremap(window, PAGE_SIZE, 2 * PAGE_SIZE)
        await sys.store(window + PAGE_SIZE, b"2nd.")
        cut = await sys.ftruncate(fd, PAGE_SIZE)
        return grown - window, cut, await sys.load(window + PAGE_SIZE, 4)

    assert alone(caller) == (0, 0, SIGBUS)


def test_what_moved_keeps_its_file_open():
    async def caller(sys, _):
        fd = await sys.open(FILES, "f", O_RDWR | O_CREAT)
        window = await sys.mmap(fd, RW, MAP_SHARED)
        await sys.mmap(fd, RW, MAP_SHARED)
        moved = await sys.mremap(window, PAGE_SIZE, 2 * PAGE_SIZE, MREMAP_MAYMOVE)
        closed = await sys.close(fd), await sys.munmap(window + PAGE_SIZE)
        return moved > window, closed, await sys.remount(FILES, MS_RDONLY)

    assert alone(caller, mounts=(FILES,)) == (True, (0, 0), -EBUSY)


def test_a_mapping_that_was_cut_in_two_keeps_its_file_open():
    async def caller(sys, _):
        fd = await sys.open(FILES, "f", O_RDWR | O_CREAT)
        window = await sys.mmap(fd, RW, MAP_SHARED, 3 * PAGE_SIZE)
        cut = await sys.munmap(window + PAGE_SIZE)
        answers = [await sys.close(fd), await sys.remount(FILES, MS_RDONLY)]
        return cut, answers, await sys.munmap(window, 3 * PAGE_SIZE), await sys.remount(FILES, MS_RDONLY)

    assert alone(caller, mounts=(FILES,)) == (0, [0, -EBUSY], 0, 0)
