"""Descriptors, positions, reading past the end, holes, and the order of errors."""

from __future__ import annotations

import pytest

from mmsim.syscalls import (
    EBADF,
    EINVAL,
    MAP_PRIVATE,
    MAP_SHARED,
    PAGE_SIZE,
    PROT_READ,
    fill,
)
from tests.kernel.alone import alone, filled

BAD = (-1, 0, 4, 99)


@pytest.mark.parametrize("fd", BAD)
def test_no_such_descriptor(fd):
    async def caller(sys, _):
        await filled(sys)
        return (
            await sys.close(fd),
            await sys.dup(fd),
            await sys.ftruncate(fd, 0),
            await sys.read(fd, 1),
            await sys.pread(fd, 1),
            await sys.write(fd, b"x"),
            await sys.write(fd, b""),
            await sys.pwrite(fd, b"x"),
            await sys.mmap(fd, PROT_READ, MAP_SHARED),
            await sys.mmap(fd, PROT_READ, MAP_SHARED, 0),
            await sys.add_seals(fd, 0),
            await sys.add_seals(fd, 1 << 33),
            await sys.get_seals(fd),
        )

    assert alone(caller) == (-EBADF,) * 13


@pytest.mark.parametrize("fd", [3, 99])
def test_bad_numbers_come_before_bad_descriptors(fd):
    async def caller(sys, _):
        await filled(sys)
        return (
            await sys.ftruncate(fd, -1),
            await sys.pread(fd, 1, -1),
            await sys.pwrite(fd, b"x", -1),
            await sys.pwrite(fd, b"", -1),
            await sys.mmap(fd, PROT_READ, MAP_SHARED, PAGE_SIZE, 1),
        )

    assert alone(caller) == (-EINVAL,) * 5


@pytest.mark.parametrize(
    ("flags", "length"),
    [(0, PAGE_SIZE), (MAP_SHARED, 0), (MAP_PRIVATE, 0), (MAP_SHARED | MAP_PRIVATE | 4, PAGE_SIZE)],
)
def test_what_mmap_refuses(flags, length):
    async def caller(sys, _):
        return await sys.mmap(await filled(sys), PROT_READ, flags, length)

    assert alone(caller) == -EINVAL


def test_mmap_rounds_its_length_up():
    async def caller(sys, _):
        fd = await filled(sys, 2)
        one = await sys.mmap(fd, PROT_READ, MAP_SHARED, PAGE_SIZE + 1)
        two = await sys.mmap(fd, PROT_READ, MAP_SHARED, 1, PAGE_SIZE)
        return two - one, await sys.load(one + PAGE_SIZE, 4), await sys.load(two, 4)

    assert alone(caller) == (2 * PAGE_SIZE, b"orig", b"orig")


def test_close_and_dup_take_the_lowest_free():
    async def caller(sys, _):
        one = await filled(sys)
        two, three = await sys.dup(one), await sys.dup(one)
        closed = await sys.close(two), await sys.close(two)
        other = await sys.memfd_create("other")
        return one, two, three, closed, other, await sys.pread(three, 4), await sys.pread(other, 4)

    assert alone(caller) == (3, 4, 5, (0, -EBADF), 4, b"orig", b"")


def test_two_files_of_one_name_are_two_files():
    async def caller(sys, _):
        one, two = await filled(sys), await filled(sys, 1, b"else")
        return await sys.pread(one, 4), await sys.pread(two, 4)

    assert alone(caller) == (b"orig", b"else")


def test_the_position_is_shared_by_dup_and_moved_by_read_and_write_only():
    async def caller(sys, _):
        fd = await sys.memfd_create("file")
        other = await sys.dup(fd)
        return (
            await sys.write(fd, b"abcd"),
            await sys.write(other, b"efgh"),
            await sys.read(fd, 10),
            await sys.pread(fd, 3, 6),
            await sys.pwrite(fd, b"X", 0),
            await sys.write(fd, b""),
            await sys.write(fd, b"i"),
            await sys.pread(fd, 100),
        )

    assert alone(caller) == (4, 4, b"", b"gh", 1, 0, 1, b"Xbcdefghi")


@pytest.mark.parametrize("words", [1, 2])
@pytest.mark.parametrize(
    ("offset", "length", "bytes_"),
    [
        (0, 0, b""),
        (0, 3, b"ori"),
        (PAGE_SIZE - 2, 4, b"igor"),
        (2 * PAGE_SIZE - 2, 100, b"ig"),
        (2 * PAGE_SIZE, 1, b""),
        (1 << 40, 5, b""),
        (PAGE_SIZE // 2 - 1, 2, b"go"),
    ],
)
def test_reading_up_to_the_end_and_past_it(offset, length, bytes_, words):
    async def caller(sys, _):
        return await sys.pread(await filled(sys, 2), length, offset)

    assert alone(caller, words=words) == bytes_


@pytest.mark.parametrize("words", [1, 2])
def test_holes_read_as_zeros(words):
    async def caller(sys, _):
        fd = await sys.memfd_create("file")
        await sys.pwrite(fd, b"end", 2 * PAGE_SIZE + 5)
        return await sys.pread(fd, 3 * PAGE_SIZE) == bytes(2 * PAGE_SIZE + 5) + b"end"

    assert alone(caller, words=words)


@pytest.mark.parametrize("words", [1, 2, 4])
@pytest.mark.parametrize("size", [0, 1, 100, PAGE_SIZE // 2, PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 7])
def test_cut_and_grown_again_the_rest_is_zeros(size, words):
    async def caller(sys, _):
        fd = await filled(sys, 2)
        return (
            await sys.ftruncate(fd, size),
            await sys.pread(fd, 2 * PAGE_SIZE),
            await sys.ftruncate(fd, 2 * PAGE_SIZE),
            await sys.pread(fd, 2 * PAGE_SIZE),
        )

    content = fill(b"orig", 2)[:size]
    assert alone(caller, words=words) == (0, content, 0, content + bytes(2 * PAGE_SIZE - size))
