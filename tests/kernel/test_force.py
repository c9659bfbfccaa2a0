"""Writes to other people's memory and through what is mapped read-only, as a program sees them that runs alone."""

from __future__ import annotations

import pytest

from mmsim.errors import UserError
from mmsim.syscalls import (
    EBUSY,
    EEXIST,
    EFAULT,
    EINVAL,
    EIO,
    ENOENT,
    ENOMEM,
    EPERM,
    F_SEAL_GROW,
    F_SEAL_SHRINK,
    F_SEAL_WRITE,
    MADV_DONTNEED,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_NONE,
    PROT_READ,
    PROT_WRITE,
    SIGSEGV,
    UFFDIO_REGISTER_MODE_MINOR,
    UFFDIO_REGISTER_MODE_MISSING,
    Device,
    fill,
)
from tests.kernel.alone import alone, filled, outcomes

RW = PROT_READ | PROT_WRITE
DISK = Device("disk")
MISSING, MINOR = UFFDIO_REGISTER_MODE_MISSING, UFFDIO_REGISTER_MODE_MINOR
SINCE_DIRTY_COW = pytest.mark.parametrize("release", ["v3.17", "v4.8", "v4.9", "v5.16", "v5.19", "v6.0", "v6.7"])


# ---- /proc/PID/mem and process_vm_writev()


@SINCE_DIRTY_COW
@pytest.mark.parametrize(
    ("prot", "flags", "sealed", "forced", "copied", "seen", "file"),
    [
        (PROT_READ, MAP_SHARED, False, -EIO, -EFAULT, b"orig", b"orig"),
        (RW, MAP_SHARED, False, 1, 1, b"Qrig", b"Qrig"),
        (PROT_NONE, MAP_SHARED, False, -EIO, -EFAULT, SIGSEGV, b"orig"),
        (PROT_READ, MAP_PRIVATE, True, 1, -EFAULT, b"Qrig", b"orig"),
        (RW, MAP_PRIVATE, True, 1, 1, b"Qrig", b"orig"),
    ],
)
def test_what_may_be_written(prot, flags, sealed, forced, copied, seen, file, release):
    async def caller(sys, _):
        fd = await filled(sys)
        if sealed:
            await sys.add_seals(fd, F_SEAL_WRITE)
        window = await sys.mmap(fd, prot, flags)
        written = await sys.process_vm_writev(None, window, b"Q"), await sys.mem_write(window, b"Q")
        return (*written, await sys.load(window, 4), await sys.pread(fd, 4))

    assert alone(caller, release=release) == (copied, forced, seen, file)


@pytest.mark.parametrize(("release", "read_only"), [("v7.3.4", 1), ("v7.3.4-noforce", -EIO)])
def test_a_kernel_may_be_built_to_force_nothing(release, read_only):
    """As Debian's 7.3.4 is: /proc/PID/mem then does what the mapping allows, which is all that it does elsewhere."""

    async def caller(sys, _):
        fd = await filled(sys)
        window = await sys.mmap(fd, PROT_READ, MAP_PRIVATE)
        other = await sys.mmap(fd, RW, MAP_PRIVATE)
        return await sys.mem_write(window, b"Q"), await sys.mem_write(other, b"Q"), await sys.mem_read(window, 1)

    assert alone(caller, release=release) == (read_only, 1, b"Q" if read_only == 1 else b"o")


def test_a_sealed_file_mapped_read_only_is_not_written():
    async def caller(sys, _):
        fd = await filled(sys)
        await sys.add_seals(fd, F_SEAL_WRITE)
        window = await sys.mmap(fd, PROT_READ, MAP_SHARED)
        return await sys.process_vm_writev(None, window, b"Q"), await sys.mem_write(window, b"Q")

    assert alone(caller, release="v6.7") == (-EFAULT, -EIO)


@SINCE_DIRTY_COW
@pytest.mark.parametrize("touched", [False, True])
def test_a_forced_write_makes_a_copy_once(touched, release):
    async def caller(sys, _):
        fd = await filled(sys)
        window = await sys.mmap(fd, PROT_READ, MAP_PRIVATE)
        if touched:
            await sys.load(window, 1)
        written = await sys.mem_write(window, b"one"), await sys.mem_write(window + 1, b"two")
        await sys.pwrite(fd, b"file")
        seen = await sys.load(window, 4), await sys.store(window, b"x")
        dropped = await sys.madvise(window, PAGE_SIZE, MADV_DONTNEED)
        return written, seen, dropped, await sys.load(window, 4)

    assert alone(caller, release=release) == ((3, 3), (b"otwo", SIGSEGV), 0, b"file")


@pytest.mark.parametrize("words", [1, 4])
def test_as_far_as_the_memory_reaches(words):
    async def caller(sys, _):
        fd = await filled(sys, 2)
        window = await sys.mmap(fd, RW, MAP_SHARED, 2 * PAGE_SIZE)
        last = window + 2 * PAGE_SIZE
        return (
            await sys.process_vm_writev(None, window + PAGE_SIZE - 2, b"over"),
            await sys.pread(fd, 8, PAGE_SIZE - 4),
            await sys.process_vm_writev(None, last - 2, b"over"),
            await sys.process_vm_writev(None, last, b"over"),
            await sys.process_vm_writev(None, last, b""),
            await sys.pread(fd, 4, 2 * PAGE_SIZE - 4),
            await sys.mem_write(window + PAGE_SIZE - 1, b"more"),
            await sys.mem_read(window + PAGE_SIZE - 3, 6),
            await sys.mem_write(last - 2, b"more"),
            await sys.mem_read(last - 4, 8),
            await sys.mem_write(last, b"more"),
            await sys.mem_read(last, 8),
            len(await sys.mem_read(window + 1, 2 * PAGE_SIZE)),
            await sys.mem_write(window + 1, fill(b"long", 2)),
            await sys.pread(fd, 4, PAGE_SIZE),
        )

    assert alone(caller, words=words) == (
        4,
        b"oroverig",
        2,
        -EFAULT,
        0,
        b"orov",
        4,
        b"romore",
        2,
        b"ormo",
        -EIO,
        -EIO,
        2 * PAGE_SIZE - 1,
        2 * PAGE_SIZE - 1,
        b"glon",
    )


def test_what_may_be_read_by_force():
    async def caller(sys, _):
        fd = await filled(sys)
        write_only = await sys.mmap(fd, PROT_WRITE, MAP_SHARED)
        beyond = await sys.mmap(fd, RW, MAP_SHARED, PAGE_SIZE, PAGE_SIZE)
        return (
            await sys.mem_read(write_only, 4),
            await sys.mem_read(beyond, 4),
            await sys.mem_write(beyond, b"x"),
            await sys.process_vm_writev(None, beyond, b"x"),
        )

    assert alone(caller) == (b"orig", -EIO, -EIO, -EFAULT)


def test_another_processs_memory():
    async def child(sys, _):
        return await sys.load(0x10000, 6)

    async def caller(sys, _):
        fd = await filled(sys)
        window = await sys.mmap(fd, RW, MAP_PRIVATE)
        await sys.store(window, b"before")
        await sys.fork(child)
        mine = await sys.process_vm_writev(child, 0x10000, b"child!"), await sys.mem_read(0x10000, 6, child)
        return mine, await sys.load(window, 6)

    told = outcomes(caller, children=(child,))
    assert told == {"caller": ((6, b"child!"), b"before"), "child": b"child!"}


def test_nobodys_memory():
    async def stranger(sys, _): ...

    async def caller(sys, _):
        return await sys.mem_read(0x10000, 1, stranger)

    with pytest.raises(UserError, match="stranger: no thread or child"):
        alone(caller)


@pytest.mark.parametrize("release", ["v5.17", "v5.19", "v6.5"])
def test_fork_takes_the_exclusive_mark_away(release):
    async def child(sys, _):
        return await sys.load(0x10000, 4)

    async def caller(sys, _):
        fd = await filled(sys)
        window = await sys.mmap(fd, PROT_READ, MAP_PRIVATE)
        await sys.mem_write(window, b"both")
        await sys.fork(child)
        await sys.mem_write(window, b"mine")
        return await sys.load(window, 4), await sys.mem_read(window, 4, child), await sys.pread(fd, 4)

    assert outcomes(caller, children=(child,), release=release) == {
        "caller": (b"mine", b"both", b"orig"),
        "child": b"both",
    }


@pytest.mark.parametrize(("release", "exclusive"), [("v5.17", False), ("v5.19", False), ("v6.5", True)])
def test_a_readers_pin_of_a_private_page_gets_a_page_of_its_own(release, exclusive):
    """The child shares the page; a device that reads it must see what the parent stores, where direct I/O pins."""

    async def child(sys, _):
        return await sys.load(0x10000, 4)

    async def caller(sys, _):
        fd = await filled(sys)
        window = await sys.mmap(fd, RW, MAP_PRIVATE)
        await sys.store(window, fill(b"both"))
        await sys.fork(child)
        io = await sys.submit_direct_write(DISK, window)
        await sys.store(window, fill(b"mine"))
        await sys.wait_for(io)
        return (await sys.device_contents(DISK))[:4] == b"mine"

    assert outcomes(caller, children=(child,), devices=(DISK,), release=release)["caller"] == exclusive


# ---- MADV_DONTNEED


def test_dontneed_drops_private_pages_and_keeps_the_file():
    async def caller(sys, _):
        fd = await filled(sys, 3)
        private = await sys.mmap(fd, RW, MAP_PRIVATE, 3 * PAGE_SIZE)
        shared = await sys.mmap(fd, RW, MAP_SHARED)
        for page in range(3):
            await sys.store(private + page * PAGE_SIZE, b"mine")
        await sys.store(shared, b"file")
        dropped = [
            await sys.madvise(private + PAGE_SIZE, 1, MADV_DONTNEED),
            await sys.madvise(shared, PAGE_SIZE, MADV_DONTNEED),
        ]
        seen = [await sys.load(private + page * PAGE_SIZE, 4) for page in range(3)]
        return dropped, seen, await sys.load(shared, 4)

    assert alone(caller) == ([0, 0], [b"mine", b"orig", b"mine"], b"file")


def test_dontneed_refuses():
    async def caller(sys, _):
        fd = await filled(sys)
        window = await sys.mmap(fd, RW, MAP_PRIVATE)
        await sys.store(window, b"mine")
        errors = [
            await sys.madvise(window, PAGE_SIZE, 77),
            await sys.madvise(window + 1, PAGE_SIZE, MADV_DONTNEED),
            await sys.madvise(window, -1, MADV_DONTNEED),
            await sys.madvise(window, 0, MADV_DONTNEED),
            await sys.madvise(window + PAGE_SIZE, PAGE_SIZE, MADV_DONTNEED),
        ]
        before = await sys.load(window, 4)
        # what is mapped goes, and the hole is told of
        return errors, before, await sys.madvise(window, 2 * PAGE_SIZE, MADV_DONTNEED), await sys.load(window, 4)

    assert alone(caller) == ([-EINVAL, -EINVAL, -EINVAL, 0, -ENOMEM], b"mine", -ENOMEM, b"orig")


# ---- userfaultfd


async def with_hole(sys, flags=MFD_ALLOW_SEALING):
    fd = await sys.memfd_create("file", flags)
    await sys.ftruncate(fd, PAGE_SIZE)
    return fd


@pytest.mark.parametrize(
    ("prot", "flags", "before", "after", "answers", "file"),
    [
        (RW, MAP_SHARED, 0, 0, (0, 0, PAGE_SIZE), b"UFFD"),
        (PROT_READ, MAP_SHARED, 0, 0, (0, 0, PAGE_SIZE), b"UFFD"),
        (RW, MAP_SHARED, 0, F_SEAL_WRITE, (0, -EBUSY, PAGE_SIZE), b"UFFD"),
        (RW, MAP_SHARED, F_SEAL_GROW | F_SEAL_SHRINK, 0, (0, 0, PAGE_SIZE), b"UFFD"),
        (PROT_READ, MAP_SHARED, F_SEAL_WRITE, 0, (-EPERM, 0, -ENOENT), b"\0\0\0\0"),
        (RW, MAP_PRIVATE, F_SEAL_WRITE, 0, (0, 0, PAGE_SIZE), b"\0\0\0\0"),
    ],
)
def test_filling_holes(prot, flags, before, after, answers, file):
    async def caller(sys, _):
        fd = await with_hole(sys)
        await sys.add_seals(fd, before)
        window = await sys.mmap(fd, prot, flags)
        told = (
            await sys.uffd_register(window, PAGE_SIZE, MISSING),
            await sys.add_seals(fd, after),
            await sys.uffd_copy(window, fill(b"UFFD")),
        )
        seen = await sys.load(window, 4) if told[2] > 0 else b"UFFD"
        return told, seen, await sys.pread(fd, 4)

    assert alone(caller, release="v6.7") == (answers, b"UFFD", file)


@pytest.mark.parametrize(("prot", "answer", "file"), [(RW, None, b"Zrig"), (PROT_READ, SIGSEGV, b"orig")])
def test_continue_maps_what_the_file_has(prot, answer, file):
    async def caller(sys, _):
        fd = await filled(sys)
        window = await sys.mmap(fd, prot, MAP_SHARED)
        told = await sys.uffd_register(window, PAGE_SIZE, MINOR), await sys.uffd_continue(window)
        return told, await sys.store(window, b"Z"), await sys.pread(fd, 4)

    assert alone(caller, release="v6.7") == ((0, PAGE_SIZE), answer, file)


def test_a_private_mapping_shows_what_continue_maps_and_copies_on_write():
    async def caller(sys, _):
        fd = await filled(sys)
        window = await sys.mmap(fd, RW, MAP_PRIVATE)
        told = await sys.uffd_register(window, PAGE_SIZE, MINOR), await sys.uffd_continue(window)
        await sys.store(window, b"Z")
        return told, await sys.load(window, 4), await sys.pread(fd, 4)

    assert alone(caller, release="v6.7") == ((0, PAGE_SIZE), b"Zrig", b"orig")


def test_registering_refuses():
    async def caller(sys, _):
        fd = await filled(sys)
        window = await sys.mmap(fd, RW, MAP_SHARED)
        return [
            await sys.uffd_register(*arguments)
            for arguments in [
                (window, PAGE_SIZE, 0),
                (window, PAGE_SIZE, 8),
                (window + 1, PAGE_SIZE, MISSING),
                (window, PAGE_SIZE - 1, MISSING),
                (window, 0, MISSING),
                (window + PAGE_SIZE, PAGE_SIZE, MISSING),
                (window, PAGE_SIZE, MINOR),
                (window, PAGE_SIZE, MISSING),
            ]
        ]

    assert alone(caller, release="v4.9") == [-EINVAL] * 8
    assert alone(caller, release="v5.13") == [-EINVAL] * 7 + [0]
    assert alone(caller, release="v5.15") == [-EINVAL] * 6 + [0, 0]


def test_copying_and_continuing_refuse():
    async def caller(sys, _):
        fd = await filled(sys)
        window = await sys.mmap(fd, RW, MAP_SHARED, 3 * PAGE_SIZE)
        page = fill(b"UFFD")
        plain = await sys.uffd_copy(window, page), await sys.uffd_continue(window)
        await sys.uffd_register(window, 2 * PAGE_SIZE, MISSING | MINOR)
        odd = await sys.uffd_copy(window + 1, page), await sys.uffd_copy(window, b"x"), await sys.uffd_copy(window, b"")
        cached = await sys.uffd_copy(window, page)
        beyond = await sys.uffd_copy(window + PAGE_SIZE, page)
        await sys.ftruncate(fd, 3 * PAGE_SIZE)
        hole = await sys.uffd_continue(window + PAGE_SIZE), await sys.uffd_continue(window + 1)
        filled_ = await sys.uffd_copy(window + PAGE_SIZE, page)
        twice = await sys.uffd_copy(window + PAGE_SIZE, page), await sys.uffd_continue(window + PAGE_SIZE)
        outside = await sys.uffd_copy(window + 2 * PAGE_SIZE, page), await sys.uffd_continue(window + 2 * PAGE_SIZE)
        await sys.munmap(window, 3 * PAGE_SIZE)
        return plain, odd, cached, beyond, hole, filled_, twice, outside, await sys.add_seals(fd, F_SEAL_WRITE)

    assert alone(caller, release="v6.7") == (
        (-ENOENT, -ENOENT),
        (-EINVAL, -EINVAL, -EINVAL),
        -EEXIST,
        -EFAULT,
        (-EFAULT, -EINVAL),
        PAGE_SIZE,
        (-EEXIST, -EEXIST),
        (-ENOENT, -ENOENT),
        0,
    )


def test_a_fault_that_was_promised_waits_for_its_page():
    async def child(sys, _):
        written = await sys.process_vm_writev(caller, 0x10000 + PAGE_SIZE - 1, b"xy"), await sys.mem_read(0x10000, 4)
        return written, await sys.load(0x10000, 4)

    async def caller(sys, _):
        fd = await with_hole(sys)
        await sys.ftruncate(fd, 2 * PAGE_SIZE)
        window = await sys.mmap(fd, RW, MAP_SHARED, 2 * PAGE_SIZE)
        told = await sys.uffd_register(window, PAGE_SIZE, MISSING), await sys.mem_write(window, b"x")
        await sys.fork(child)  # which hears of no faults itself, and waits in ours
        copied = await sys.uffd_copy(window, fill(b"UFFD"))
        return told, copied, await sys.load(window, 4)

    assert outcomes(caller, children=(child,), release="v6.7") == {
        "caller": ((0, -EIO), PAGE_SIZE, b"UFFD"),
        "child": ((2, b"UFFD"), b"UFFD"),
    }


def test_a_child_waits_for_no_page_that_its_parent_was_promised():
    async def child(sys, _):
        return await sys.load(0x10000, 4), await sys.uffd_copy(0x10000, fill(b"UFFD"))

    async def caller(sys, _):
        window = await sys.mmap(await with_hole(sys), RW, MAP_SHARED)
        return await sys.uffd_register(window, PAGE_SIZE, MISSING), await sys.fork(child)

    told = outcomes(caller, children=(child,), release="v6.7")
    assert told == {"caller": (0, 2), "child": (b"\0\0\0\0", -ENOENT)}


@pytest.mark.parametrize(("release", "file"), [("v4.19", b"UFFD"), ("v4.20", b"\0\0\0\0")])
def test_what_a_copy_through_a_private_mapping_fills(release, file):
    async def caller(sys, _):
        fd = await with_hole(sys)
        window = await sys.mmap(fd, PROT_READ, MAP_PRIVATE)
        told = await sys.uffd_register(window, PAGE_SIZE, MISSING), await sys.uffd_copy(window, fill(b"UFFD"))
        return told, await sys.load(window, 4), await sys.pread(fd, 4)

    assert alone(caller, release=release) == ((0, PAGE_SIZE), b"UFFD", file)
