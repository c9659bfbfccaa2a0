"""Loads, stores, faults, copies on write, fork, munmap and direct I/O, as a program sees them that runs alone."""

from __future__ import annotations

import pytest

from mmsim.syscalls import (
    EBUSY,
    EFAULT,
    EINVAL,
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MAP_SHARED,
    PAGE_SIZE,
    PROT_NONE,
    PROT_READ,
    PROT_WRITE,
    SIGBUS,
    SIGSEGV,
    Device,
    fill,
)
from tests.kernel.alone import EXACT, alone, filled, outcomes

RW = PROT_READ | PROT_WRITE
DISK = Device("disk")
BY_NAME = pytest.mark.parametrize("strategy", EXACT, ids=lambda strategy: strategy.name)
WORDS = pytest.mark.parametrize("words", [1, 2, 4])


@WORDS
def test_loads_and_stores_reach_the_file(words):
    async def caller(sys, _):
        fd = await filled(sys, 2)
        window = await sys.mmap(fd, RW, MAP_SHARED, 2 * PAGE_SIZE)
        across = window + PAGE_SIZE - 2
        return (
            await sys.load(across, 4),
            await sys.store(across, b"over"),
            await sys.load(across, 4),
            await sys.pread(fd, 6, PAGE_SIZE - 3),
            await sys.store(window + PAGE_SIZE // 2 - 1, b"mid"),
            await sys.pread(fd, 4, PAGE_SIZE // 2 - 1),
            await sys.pwrite(fd, b"file", PAGE_SIZE - 2),
            await sys.load(across, 4),
        )

    assert alone(caller, words=words) == (b"igor", None, b"over", b"roveri", None, b"midi", 4, b"file")


def test_signals():
    async def caller(sys, _):
        fd = await filled(sys)
        readable = await sys.mmap(fd, PROT_READ, MAP_SHARED)
        nothing = await sys.mmap(fd, PROT_NONE, MAP_SHARED)
        write_only = await sys.mmap(fd, PROT_WRITE, MAP_SHARED)
        beyond = await sys.mmap(fd, RW, MAP_SHARED, 2 * PAGE_SIZE)
        private = await sys.mmap(fd, RW, MAP_PRIVATE, PAGE_SIZE, PAGE_SIZE)
        return (
            (await sys.load(readable, 1), await sys.store(readable, b"x")),
            (await sys.load(nothing, 1), await sys.store(nothing, b"x")),
            (await sys.store(write_only, b"x"), await sys.load(write_only, 1)),  # x86 cannot forbid to read
            (await sys.load(beyond + PAGE_SIZE, 1), await sys.store(beyond + PAGE_SIZE, b"x")),
            (await sys.load(private, 1), await sys.store(private, b"x")),
            (await sys.load(0, 1), await sys.store(private + PAGE_SIZE, b"x")),
            await sys.load(beyond + PAGE_SIZE - 2, 4),  # no part of it is given
        )

    assert alone(caller) == (
        (b"o", SIGSEGV),
        (SIGSEGV, SIGSEGV),
        (None, b"x"),
        (SIGBUS, SIGBUS),
        (SIGBUS, SIGBUS),
        (SIGSEGV, SIGSEGV),
        SIGBUS,
    )


def test_after_munmap_and_after_truncation():
    async def caller(sys, _):
        fd = await filled(sys, 2)
        window = await sys.mmap(fd, RW, MAP_SHARED, 2 * PAGE_SIZE)
        await sys.store(window, b"x")
        await sys.store(window + PAGE_SIZE, b"y")
        cut = await sys.ftruncate(fd, 100)
        second = await sys.load(window + PAGE_SIZE, 1), await sys.store(window + PAGE_SIZE, b"z")
        tail = await sys.load(window + 100, 2)
        grown = await sys.ftruncate(fd, 2 * PAGE_SIZE)
        zeros = await sys.load(window + PAGE_SIZE, 2), await sys.pread(fd, 3, 99)
        await sys.munmap(window, 2 * PAGE_SIZE)
        return cut, second, tail, grown, zeros, await sys.load(window, 1)

    zero = b"\0\0"
    assert alone(caller) == (0, (SIGBUS, SIGBUS), zero, 0, (zero, b"g" + zero), SIGSEGV)


@WORDS
def test_private_pages_are_copied_on_write(words):
    async def caller(sys, _):
        fd = await filled(sys)
        one = await sys.mmap(fd, RW, MAP_PRIVATE)
        two = await sys.mmap(fd, RW, MAP_PRIVATE)
        shared = await sys.mmap(fd, RW, MAP_SHARED)
        await sys.load(one, 4)  # mapped read-only first: the store has to break it
        await sys.store(one, b"mine")
        await sys.store(two, b"your")  # not mapped yet
        await sys.store(shared, b"file")
        seen = await sys.load(one, 8), await sys.load(two, 8), await sys.load(shared, 8), await sys.pread(fd, 8)
        for window in (one, two, shared):
            await sys.munmap(window)
        again = await sys.mmap(fd, PROT_READ, MAP_PRIVATE)
        return seen, await sys.load(again, 8)

    seen = (b"mineorig", b"yourorig", b"fileorig", b"fileorig")
    assert alone(caller, words=words) == (seen, b"fileorig")


def test_a_private_page_not_written_shows_the_file():
    async def caller(sys, _):
        fd = await filled(sys)
        window = await sys.mmap(fd, RW, MAP_PRIVATE)
        before = await sys.load(window, 4)
        await sys.pwrite(fd, b"late")
        return before, await sys.load(window, 4)

    assert alone(caller) == (b"orig", b"late")


@BY_NAME
def test_fork_shares_what_is_shared_and_copies_what_is_private(strategy):
    async def child(sys, _):
        shared, private = 0x10000, 0x10000 + PAGE_SIZE
        seen = await sys.load(shared, 4), await sys.load(private, 4)
        await sys.store(shared, b"kid ")
        await sys.store(private, b"kid ")
        return seen, await sys.load(private, 4), await sys.pread(3, 4)

    async def grandson(sys, _):
        return await sys.load(0x10000, 4), await sys.load(0x10000 + PAGE_SIZE, 4)

    async def caller(sys, _):
        fd = await filled(sys)
        shared, private = await sys.mmap(fd, RW, MAP_SHARED), await sys.mmap(fd, RW, MAP_PRIVATE)
        await sys.store(shared, b"both")
        await sys.store(private, b"mine")
        pid = await sys.fork(child)
        await sys.store(private, b"dad ")
        own = await sys.load(private, 4)
        await sys.fork(grandson)
        return pid > 0, own

    told = outcomes(caller, children=(child, grandson), strategy=strategy)
    assert told["caller"] == (True, b"dad ")
    assert told["child"] == ((b"both", b"mine"), b"kid ", b"kid ")
    assert told["grandson"] in ((b"both", b"dad "), (b"kid ", b"dad "))


def test_a_partial_munmap_splits():
    async def caller(sys, _):
        fd = await filled(sys, 3)
        for page in range(3):
            await sys.pwrite(fd, b"%d" % page, page * PAGE_SIZE)
        window = await sys.mmap(fd, RW, MAP_SHARED, 3 * PAGE_SIZE)
        for page in range(3):
            await sys.store(window + page * PAGE_SIZE + 1, b"+")
        middle = await sys.munmap(window + PAGE_SIZE, 1)  # any part of a page takes all of it
        seen = tuple([await sys.load(window + page * PAGE_SIZE, 2) for page in range(3)])
        sealed = await sys.add_seals(fd, F_SEAL_WRITE)
        gap = await sys.mmap(fd, PROT_READ, MAP_PRIVATE, PAGE_SIZE, 2 * PAGE_SIZE)
        in_gap = gap == window + PAGE_SIZE, await sys.load(gap, 2)
        await sys.munmap(window, 3 * PAGE_SIZE)  # three mappings at once
        return middle, seen, sealed, in_gap, await sys.add_seals(fd, F_SEAL_WRITE)

    assert alone(caller) == (0, (b"0+", SIGSEGV, b"2+"), -EBUSY, (True, b"2+"), 0)


@pytest.mark.parametrize(
    ("offset", "length", "answer"),
    [(0, PAGE_SIZE, 0), (1, PAGE_SIZE, -EINVAL), (0, 0, -EINVAL), (0, -1, -EINVAL), (1 << 30, PAGE_SIZE, 0)],
)
def test_what_munmap_answers(offset, length, answer):
    async def caller(sys, _):
        window = await sys.mmap(await filled(sys), RW, MAP_SHARED)
        return await sys.munmap(window + offset, length)

    assert alone(caller) == answer


# ---- direct I/O


@BY_NAME
@WORDS
def test_direct_io_brings_and_takes_content(words, strategy):
    async def caller(sys, _):
        fd = await filled(sys, 2)
        window = await sys.mmap(fd, RW, MAP_SHARED, 2 * PAGE_SIZE)
        out = await sys.wait_for(await sys.submit_direct_write(DISK, window))
        taken = await sys.device_contents(DISK)
        both = await sys.wait_for(await sys.submit_direct_read(DISK, window, fill(b"late", 2)))
        part = await sys.wait_for(await sys.submit_direct_read(DISK, window + PAGE_SIZE, fill(b"part")[:2048]))
        file = await sys.pread(fd, 2 * PAGE_SIZE)
        return (
            out,
            taken == fill(b"orig"),
            both,
            part,
            file == fill(b"late") + fill(b"part")[:2048] + fill(b"late")[2048:],
        )

    assert alone(caller, devices=(DISK,), words=words, strategy=strategy) == (
        PAGE_SIZE,
        True,
        2 * PAGE_SIZE,
        2048,
        True,
    )


@BY_NAME
def test_direct_io_through_a_private_mapping(strategy):
    async def caller(sys, _):
        fd = await filled(sys)
        window = await sys.mmap(fd, RW, MAP_PRIVATE)
        await sys.load(window, 1)
        got = await sys.wait_for(await sys.submit_direct_read(DISK, window, fill(b"late")))
        return got, await sys.load(window, 4), await sys.pread(fd, 4)

    assert alone(caller, devices=(DISK,), strategy=strategy) == (PAGE_SIZE, b"late", b"orig")


def test_buffers_that_direct_io_refuses():
    async def caller(sys, _):
        fd = await filled(sys)
        read_only = await sys.mmap(fd, PROT_READ, MAP_SHARED)
        write_only = await sys.mmap(fd, PROT_WRITE, MAP_SHARED)
        nothing = await sys.mmap(fd, PROT_NONE, MAP_SHARED)
        last = await sys.mmap(fd, RW, MAP_SHARED, 2 * PAGE_SIZE)
        tries = [
            await sys.submit_direct_read(DISK, read_only, fill(b"late")),
            await sys.submit_direct_write(DISK, write_only),
            await sys.submit_direct_read(DISK, nothing, fill(b"late")),
            await sys.submit_direct_write(DISK, nothing),
            await sys.submit_direct_read(DISK, last, fill(b"late", 2)),  # its second page is beyond the file
            await sys.submit_direct_write(DISK, last + 2 * PAGE_SIZE),
            await sys.submit_direct_read(DISK, last + 1, fill(b"late")),
        ]
        waited = await sys.wait_for(tries[0])
        for window in (read_only, write_only, nothing):
            await sys.munmap(window)
        await sys.munmap(last, 2 * PAGE_SIZE)
        return (*tries, waited, await sys.add_seals(fd, F_SEAL_WRITE))  # and no reference is left behind

    assert alone(caller, devices=(DISK,)) == (*(-EFAULT,) * 6, -EINVAL, -EFAULT, 0)


@BY_NAME
def test_exit_waits_for_io_then_lets_the_mapping_go(strategy):
    async def child(sys, _):
        window = await sys.mmap(3, RW, MAP_SHARED)
        await sys.submit_direct_read(DISK, window, fill(b"late"))
        await sys.exit()

    async def last(sys, _):
        return await sys.add_seals(3, F_SEAL_WRITE), await sys.pread(3, 4)

    async def caller(sys, _):
        await filled(sys)
        await sys.fork(child)
        await sys.fork(last)

    told = outcomes(caller, children=(child, last), devices=(DISK,), strategy=strategy)
    # `last` runs while the child waits for its I/O: the mapping still counts
    assert told == {"caller": None, "child": None, "last": (-EBUSY, b"orig")}
