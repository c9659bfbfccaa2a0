"""Pipes and sockets that hold pages: answers, contents, and what a seal says meanwhile (a real kernel's answers)."""

from __future__ import annotations

import pytest

from mmsim.syscalls import (
    EBADF,
    EBADMSG,
    EBUSY,
    EFAULT,
    EINVAL,
    ENODEV,
    EPERM,
    EPIPE,
    ESPIPE,
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MAP_SHARED,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    SPLICE_F_GIFT,
    fill,
)
from tests.kernel.alone import alone, filled, outcomes

RW = PROT_READ | PROT_WRITE
NOW = "v6.18"


# ---- pipes alone


def test_what_is_written_is_read():
    async def thread(sys, _):
        read, write = await sys.pipe()
        assert (read, write) == (3, 4)
        assert await sys.write(write, b"hello ") == 6
        assert await sys.write(write, b"world") == 5
        return await sys.read(read, 3), await sys.read(read, 100)

    assert alone(thread) == (b"hel", b"lo world")


def test_more_than_a_page_takes_several_slots():
    async def thread(sys, _):
        read, write = await sys.pipe()
        data = fill(b"abcd", 2) + b"tail"
        assert await sys.write(write, data) == len(data)
        assert await sys.write(write, b"s") == 1
        return await sys.read(read, 3 * PAGE_SIZE) == data + b"s"

    assert alone(thread)


def test_the_ends_of_a_pipe():
    async def thread(sys, _):
        read, write = await sys.pipe()
        answers = [await sys.write(read, b"x"), await sys.read(write, 1), await sys.pread(read, 1)]
        answers += [await sys.pwrite(write, b"x"), await sys.ftruncate(write, 0), await sys.mmap(read, PROT_READ, 1)]
        answers += [await sys.add_seals(read, 0), await sys.add_seals(write, 0), await sys.get_seals(read)]
        await sys.write(write, b"left")
        await sys.close(write)
        answers += [await sys.read(read, 9), await sys.read(read, 9)]
        await sys.close(read)
        return [*answers, await sys.read(read, 9)]

    assert alone(thread) == [
        *(-EBADF, -EBADF, -ESPIPE, -ESPIPE, -EINVAL, -ENODEV, -EINVAL, -EINVAL, -EINVAL),
        *(b"left", b"", -EBADF),
    ]


def test_nobody_to_read_is_epipe():
    async def thread(sys, _):
        read, write = await sys.pipe()
        fd = await filled(sys)
        await sys.close(read)
        window = await sys.mmap(fd, RW, MAP_SHARED)
        return await sys.write(write, b"x"), await sys.splice(fd, 0, write, 4), await sys.vmsplice(write, window, 4)

    assert alone(thread) == (-EPIPE, -EPIPE, -EPIPE)


def test_an_end_is_closed_with_its_last_descriptor():
    async def child(sys, _):
        await sys.close(5)
        return await sys.read(3, 9), await sys.read(3, 9)

    async def thread(sys, _):
        _, write = await sys.pipe()
        again = await sys.dup(write)
        await sys.close(write)
        await sys.fork(child)
        await sys.write(again, b"data")
        await sys.exit()

    assert outcomes(thread, children=(child,))["child"] == (b"data", b"")


def test_a_full_pipe_waits_for_a_reader():
    async def child(sys, _):
        return len(await sys.read(3, 2 * PAGE_SIZE))

    async def thread(sys, _):
        _, write = await sys.pipe()
        assert await sys.write(write, fill(b"full", 16)) == 16 * PAGE_SIZE
        await sys.fork(child)
        return await sys.write(write, b"more")

    assert outcomes(thread, children=(child,)) == {"thread": 4, "child": 2 * PAGE_SIZE}


# ---- moving pages


def test_splice_moves_along_the_file():
    async def thread(sys, _):
        fd = await filled(sys, 2)
        read, write = await sys.pipe()
        first = await sys.splice(fd, None, write, 3)
        rest = await sys.splice(fd, None, write, 3 * PAGE_SIZE)
        end = await sys.splice(fd, None, write, 1), await sys.splice(fd, 2 * PAGE_SIZE, write, 1)
        return first, rest, end, await sys.read(read, 4 * PAGE_SIZE) == fill(b"orig", 2)

    assert alone(thread) == (3, 2 * PAGE_SIZE - 3, (0, 0), True)


def test_splice_from_a_hole_gives_zeros():
    async def thread(sys, _):
        fd = await sys.memfd_create("hole")
        await sys.ftruncate(fd, 8)
        read, write = await sys.pipe()
        return await sys.splice(fd, 0, write, 8), await sys.read(read, 9)

    assert alone(thread) == (8, bytes(8))


def test_splice_into_a_file():
    async def thread(sys, _):
        fd = await filled(sys)
        read, write = await sys.pipe()
        await sys.write(write, b"new!")
        at_4 = await sys.splice(read, 4, fd, 2), await sys.pread(fd, 8)
        await sys.add_seals(fd, F_SEAL_WRITE)
        sealed = await sys.splice(read, None, fd, 9), await sys.read(read, 9)
        await sys.close(write)
        return at_4, sealed, await sys.splice(read, None, fd, 9)

    assert alone(thread) == ((2, b"origneig"), (-EPERM, b"w!"), 0)


def test_splice_needs_a_pipe():
    async def thread(sys, _):
        fd = await filled(sys)
        read, write = await sys.pipe()
        first, _ = await sys.socketpair()
        return (
            await sys.splice(fd, 0, fd, 4),
            await sys.splice(99, 0, write, 4),
            await sys.splice(read, 0, first, 4),
            await sys.tee(fd, write, 4),
            await sys.tee(read, write, 4),
            await sys.tee(write, read, 4),
            await sys.vmsplice(fd, 0x10000, 4),
            await sys.vmsplice(write, 0x10000, 4),
            await sys.vmsplice(write, 0x10000, 4, 0x80),
            await sys.sendfile(first, read, None, 4),
        )

    assert alone(thread) == (
        *(-EINVAL, -EBADF, -ESPIPE, -EINVAL, -EINVAL, -EBADF),
        *(-EBADF, -EFAULT, -EINVAL, -EINVAL),
    )


def test_tee_leaves_the_data_in_both():
    async def thread(sys, _):
        one, other = await sys.pipe(), await sys.pipe()
        await sys.write(one[1], b"data")
        teed = await sys.tee(one[0], other[1], 3)
        # what is in two pipes is nobody's to append to
        await sys.write(other[1], b"!")
        return teed, await sys.read(one[0], 9), await sys.read(other[0], 9)

    for release in ("v3.17", NOW):
        assert alone(thread, release=release) == (3, b"data", b"dat!")


def test_a_socket_pair():
    async def thread(sys, _):
        one, other = await sys.socketpair()
        assert await sys.write(one, b"ping") == 4
        got = await sys.read(other, 2), await sys.read(other, 9)
        await sys.write(other, b"pong")
        await sys.write(one, b"lost")
        await sys.close(other)
        return got, await sys.write(one, b"x"), await sys.read(one, 9), await sys.read(one, 9)

    assert alone(thread) == ((b"pi", b"ng"), -EPIPE, b"pong", b"")


# ---- who holds a page when a seal is asked for: "Other holders of pages", observed on real kernels


def held(gap=None):
    """A file in a pipe: (seal, what the pipe has, seal once it was read)."""

    async def thread(sys, _):
        fd = await filled(sys)
        read, write = await sys.pipe()
        assert await sys.splice(fd, 0, write, PAGE_SIZE) == PAGE_SIZE
        if gap:
            await gap(sys, fd)
        sealed = await sys.add_seals(fd, F_SEAL_WRITE)
        return sealed, (await sys.read(read, PAGE_SIZE))[:4], await sys.add_seals(fd, F_SEAL_WRITE)

    return alone(thread, release=NOW)


def test_a_spliced_page_refuses_the_seal_until_it_is_read():
    assert held() == (-EBUSY, b"orig", 0)


def test_the_pipe_sees_what_is_written_to_the_file_later():
    async def gap(sys, fd):
        await sys.pwrite(fd, b"new!")

    assert held(gap) == (-EBUSY, b"new!", 0)


def test_a_page_that_left_the_file_does_not_matter():
    async def gap(sys, fd):
        await sys.ftruncate(fd, 0)

    assert held(gap) == (0, b"orig", 0)


@pytest.mark.parametrize("end", [0, 1])
def test_closing_one_end_keeps_the_pages_and_closing_both_does_not(end):
    async def thread(sys, _):
        fd = await filled(sys)
        ends = await sys.pipe()
        await sys.splice(fd, 0, ends[1], PAGE_SIZE)
        await sys.close(ends[end])
        held = await sys.add_seals(fd, F_SEAL_WRITE)
        await sys.close(ends[1 - end])
        return held, await sys.add_seals(fd, F_SEAL_WRITE)

    assert alone(thread, release=NOW) == (-EBUSY, 0)


@pytest.mark.parametrize(
    ("prot", "flags", "touch", "sealed"),
    [
        (RW, MAP_SHARED, False, -EBUSY),
        (PROT_READ, MAP_SHARED, False, -EBUSY),
        (PROT_READ, MAP_PRIVATE, False, -EBUSY),
        (RW, MAP_PRIVATE, False, -EBUSY),
        (RW, MAP_PRIVATE, True, 0),
    ],
)
@pytest.mark.parametrize("gift", [0, SPLICE_F_GIFT])
def test_vmsplice_outlives_the_mapping(prot, flags, touch, sealed, gift):
    async def thread(sys, _):
        fd = await filled(sys)
        read, write = await sys.pipe()
        window = await sys.mmap(fd, prot, flags)
        if touch:
            await sys.store(window, b"mine")
        spliced = await sys.vmsplice(write, window, PAGE_SIZE, gift)
        await sys.munmap(window)
        first = await sys.add_seals(fd, F_SEAL_WRITE)
        return spliced, first, (await sys.read(read, PAGE_SIZE))[:4], await sys.add_seals(fd, F_SEAL_WRITE)

    assert alone(thread, release=NOW) == (PAGE_SIZE, sealed, b"mine" if touch else b"orig", 0)


def test_tee_doubles_the_reference():
    async def thread(sys, _):
        fd = await filled(sys)
        one, other = await sys.pipe(), await sys.pipe()
        await sys.splice(fd, 0, one[1], 4)
        await sys.tee(one[0], other[1], 4)
        await sys.read(one[0], 4)
        first = await sys.add_seals(fd, F_SEAL_WRITE)
        return first, await sys.read(other[0], 4), await sys.add_seals(fd, F_SEAL_WRITE)

    assert alone(thread, release=NOW) == (-EBUSY, b"orig", 0)


@pytest.mark.parametrize(("release", "sealed"), [("v3.17", 0), (NOW, -EBUSY)])
def test_a_socket_holds_what_it_has_not_read(release, sealed):
    async def thread(sys, _):
        fd = await filled(sys)
        one, other = await sys.socketpair()
        sent = await sys.sendfile(one, fd, 0, PAGE_SIZE)
        first = await sys.add_seals(fd, F_SEAL_WRITE)
        return sent, first, (await sys.read(other, PAGE_SIZE))[:4], await sys.add_seals(fd, F_SEAL_WRITE)

    assert alone(thread, release=release) == (PAGE_SIZE, sealed, b"orig", 0)


@pytest.mark.parametrize("end", [0, 1])
def test_a_closed_socket_drops_what_it_has_not_read(end):
    async def thread(sys, _):
        fd = await filled(sys)
        sockets = await sys.socketpair()
        await sys.sendfile(sockets[0], fd, None, 4)
        await sys.close(sockets[end])
        return await sys.add_seals(fd, F_SEAL_WRITE)

    assert alone(thread, release=NOW) == (-EBUSY, 0)[end]


def test_pages_go_from_a_pipe_on_to_a_socket():
    async def thread(sys, _):
        fd = await filled(sys)
        read, write = await sys.pipe()
        one, other = await sys.socketpair()
        await sys.sendfile(write, fd, 0, 8)
        moved = await sys.splice(read, None, one, 6)
        left = await sys.read(read, 9)
        return moved, left, await sys.add_seals(fd, F_SEAL_WRITE), await sys.read(other, 9)

    assert alone(thread, release=NOW) == (6, b"ig", -EBUSY, b"origor")


# ---- bugs of the past, without anybody to race


@pytest.mark.parametrize(
    ("release", "content"), [("v5.7", b"orig"), ("v5.8", b"bad!"), ("v5.16", b"bad!"), ("v5.17", b"orig")]
)
def test_a_write_merged_into_the_page_cache(release, content):
    async def thread(sys, _):
        fd = await filled(sys)
        read, write = await sys.pipe()
        await sys.write(write, fill(b"fill", 16))
        await sys.read(read, 16 * PAGE_SIZE)
        await sys.splice(fd, 0, write, 4)
        await sys.write(write, b"bad!")
        return await sys.pread(fd, 4, 4), await sys.read(read, 8)

    assert alone(thread, release=release) == (content, b"origbad!")


@pytest.mark.parametrize(("release", "content"), [("v4.9", b"orig"), ("v4.14", b"esn!"), ("v7.0", b"orig")])
def test_decryption_in_place(release, content):
    async def thread(sys, _):
        fd = await filled(sys)
        read, write = await sys.pipe()
        operation = await sys.af_alg()
        await sys.splice(fd, 0, write, 16)
        await sys.splice(read, None, operation, 16)
        held = await sys.add_seals(fd, F_SEAL_WRITE)
        return held, await sys.read(operation, 16), await sys.pread(fd, 4)

    assert alone(thread, release=release) == (-EBUSY, -EBADMSG, content)
