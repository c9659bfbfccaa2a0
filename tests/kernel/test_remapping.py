"""mprotect() and mremap(): mappings that change or move."""

from __future__ import annotations

from mmsim.syscalls import (
    EFAULT,
    EINVAL,
    ENOMEM,
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MAP_SHARED,
    MREMAP_MAYMOVE,
    PAGE_SIZE,
    PROT_NONE,
    PROT_READ,
    PROT_WRITE,
    SIGBUS,
    SIGSEGV,
)
from tests.kernel.alone import alone, filled

RW = PROT_READ | PROT_WRITE


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
