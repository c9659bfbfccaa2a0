"""(seals, call) -> answer with all thirteen columns of kernel-facts 1.7, and 1.8 for mappings that change.

The tables were observed on Linux 5.10 to 7.3; where releases differ, a row has a line for each.
"""

from __future__ import annotations

import pytest

from mmsim.syscalls import (
    EACCES,
    EBUSY,
    EINVAL,
    ENOMEM,
    EOPNOTSUPP,
    EPERM,
    F_SEAL_EXEC,
    F_SEAL_FUTURE_WRITE,
    F_SEAL_SEAL,
    F_SEAL_WRITE,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_ZERO_RANGE,
    MAP_FIXED,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    MFD_EXEC,
    MFD_HUGETLB,
    MFD_NOEXEC_SEAL,
    MREMAP_MAYMOVE,
    PAGE_SIZE,
    PROT_NONE,
    PROT_READ,
    PROT_WRITE,
    SIGSEGV,
)
from tests.kernel.alone import EXACT, alone, filled
from tests.kernel.test_seals import add, ftruncate, get_seals, mapping, private_store, pwrite, write_four, write_nothing

SIZE = 2 * PAGE_SIZE
RW = PROT_READ | PROT_WRITE
PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
ERRNO = {"P": -EPERM, "I": -EINVAL, "A": -EACCES, "O": -EOPNOTSUPP, "B": -EBUSY}

#          none SEAL SHR GRW WR FUT SHR+GRW WR+SHR WR+GRW WR+SHR+GRW all+SEAL EXEC* WR+FUT
COLUMNS = (0x0, 0x1, 0x2, 0x4, 0x8, 0x10, 0x6, 0xA, 0xC, 0xE, 0xF, 0x20, 0x18)
EXEC_COLUMN = 11


def fallocate(mode, offset, length):
    async def call(sys, fd):
        return await sys.fallocate(fd, mode, offset, length)

    return call


def fchmod(mode):
    async def call(sys, fd):
        return await sys.fchmod(fd, mode)

    return call


def mapped_then_protected(flags, prot):
    async def call(sys, fd):
        window = await sys.mmap(fd, PROT_READ, flags, SIZE)
        return window if window < 0 else await sys.mprotect(window, SIZE, prot)

    return call


async def mapped_then_doubled(sys, fd):
    window = await sys.mmap(fd, PROT_READ, MAP_SHARED, SIZE)
    return min(window, 0) or min(await sys.mremap(window, SIZE, 2 * SIZE, MREMAP_MAYMOVE), 0)


async def add_same(sys, fd):
    return await sys.add_seals(fd, await sys.get_seals(fd))


ALL = ("v5.10", "v6.1", "v6.12.9", "v7.3")
OLD, NEW = ALL[:2], ALL[2:]
ROWS = [
    (get_seals, "get_seals", ALL, "0 1 2 4 8 16 6 10 12 14 15 62 24"),
    (write_four, "write(4@0)", ALL, "4 4 4 4 P P 4 P P P P P P"),
    (write_nothing, "write(0 bytes)", ALL, "0 0 0 0 0 0 0 0 0 0 0 0 0"),
    (pwrite(4, SIZE), "pwrite(4@eof)", ALL, "4 4 4 P P P P P P P P P P"),
    (pwrite(4, SIZE - 2), "pwrite(4 straddling eof)", NEW, "4 4 4 P P P P P P P P P P"),
    (pwrite(16384, 0), "pwrite(16384@0)", OLD, "16384 16384 16384 8192 P P 8192 P P P P P P"),
    (pwrite(16384, 0), "pwrite(16384@0)", NEW, "16384 16384 16384 P P P P P P P P P P"),
    (ftruncate(SIZE), "ftruncate(same)", ALL, "0 0 0 0 0 0 0 0 0 0 0 0 0"),
    (ftruncate(100), "ftruncate(shrink)", ALL, "0 0 P 0 0 0 P P 0 P P P 0"),
    (ftruncate(2 * SIZE), "ftruncate(grow)", ALL, "0 0 0 P 0 0 P 0 P P P P 0"),
    (fallocate(0, 0, SIZE), "fallocate(0,0,SZ)", ALL, "0 0 0 0 0 0 0 0 0 0 0 0 0"),
    (fallocate(0, 0, 2 * SIZE), "fallocate(0,0,2SZ)", ALL, "0 0 0 P 0 0 P 0 P P P P 0"),
    (fallocate(FALLOC_FL_KEEP_SIZE, 0, 2 * SIZE), "fallocate(KEEP_SIZE,0,2SZ)", ALL, "0 0 0 P 0 0 P 0 P P P P 0"),
    (fallocate(PUNCH, 0, PAGE_SIZE), "fallocate(PUNCH_HOLE)", ALL, "0 0 0 0 P P 0 P P P P P P"),
    (fallocate(FALLOC_FL_ZERO_RANGE, 0, PAGE_SIZE), "fallocate(ZERO_RANGE)", ALL, "O " * 13),
    (fallocate(FALLOC_FL_PUNCH_HOLE, 0, PAGE_SIZE), "fallocate(PUNCH_HOLE, not KEEP_SIZE)", ALL, "O " * 13),
    (fallocate(0, 0, 0), "fallocate(no length)", ALL, "I " * 13),
    (mapping(RW, MAP_SHARED), "mmap SHARED RW", ALL, "0 0 0 0 P P 0 P P P P P P"),
    (mapping(PROT_READ, MAP_SHARED), "mmap SHARED R", OLD, "0 0 0 0 P 0 0 P P P P P P"),  # as 5.10.218 answers
    (mapping(PROT_READ, MAP_SHARED), "mmap SHARED R", NEW, "0 0 0 0 0 0 0 0 0 0 0 0 0"),
    (mapping(PROT_READ, MAP_SHARED), "mmap SHARED R", ("v6.12",), "0 0 0 0 P 0 0 P P P P 0 P"),
    (mapping(PROT_NONE, MAP_SHARED), "mmap SHARED NONE", NEW, "0 0 0 0 0 0 0 0 0 0 0 0 0"),
    (mapping(PROT_READ, MAP_PRIVATE), "mmap PRIVATE R", ALL, "0 0 0 0 0 0 0 0 0 0 0 0 0"),
    (mapping(RW, MAP_PRIVATE), "mmap PRIVATE RW", ALL, "0 0 0 0 0 0 0 0 0 0 0 0 0"),
    (mapped_then_protected(MAP_SHARED, RW), "SHARED R then mprotect RW", NEW, "0 0 0 0 A A 0 A A A A A A"),
    (mapped_then_protected(MAP_SHARED, RW), "SHARED R then mprotect RW", OLD, "0 0 0 0 P A 0 P P P P P P"),
    (mapped_then_protected(MAP_SHARED, PROT_READ), "SHARED R then mprotect R", NEW, "0 0 0 0 0 0 0 0 0 0 0 0 0"),
    (mapped_then_protected(MAP_PRIVATE, RW), "PRIVATE R then mprotect RW", ALL, "0 0 0 0 0 0 0 0 0 0 0 0 0"),
    (mapped_then_doubled, "SHARED R: mremap x2 MAYMOVE", NEW, "0 0 0 0 0 0 0 0 0 0 0 0 0"),
    (private_store, "PRIVATE store then file byte", ALL, "170 " * 13),
    (fchmod(0o600), "fchmod 0600", ALL, "0 0 0 0 0 0 0 0 0 0 0 P 0"),
    (fchmod(0o700), "fchmod 0700", ALL, "0 0 0 0 0 0 0 0 0 0 0 P 0"),
    (fchmod(0o666), "fchmod 0666", ALL, "0 0 0 0 0 0 0 0 0 0 0 P 0"),
    (add_same, "add_seals(same)", ALL, "0 P 0 0 0 0 0 0 0 0 P 0 0"),
    (add(0), "add_seals(0)", ALL, "0 P 0 0 0 0 0 0 0 0 P 0 0"),
    (add(0x40), "add_seals(0x40)", ALL, "I " * 13),
]
CASES = [
    pytest.param(call, release, answers, id=f"{name} {release}")
    for call, name, releases, answers in ROWS
    for release in releases
]


@pytest.mark.parametrize(("call", "release", "answers"), CASES)
def test_the_table_of_seals(call, release, answers):
    async def caller(sys, _):
        got = []
        for number, seals in enumerate(COLUMNS):
            fd = await filled(sys, 2, b"\xaa")
            answer = await sys.add_seals(fd, seals)
            if number == EXEC_COLUMN and release in OLD:
                assert answer == -EINVAL
                got.append(None)
                continue
            assert answer == 0
            got.append(await call(sys, fd))
        return tuple(got)

    wanted = [ERRNO[word] if word in ERRNO else int(word) for word in answers.split()]
    if release in OLD:
        wanted[EXEC_COLUMN] = None
    assert list(alone(caller, release=release)) == wanted


# ---- memfd_create


@pytest.mark.parametrize(
    ("flags", "seals", "mode_kept"),
    [
        (0, F_SEAL_SEAL, True),
        (MFD_ALLOW_SEALING, 0, True),
        (MFD_NOEXEC_SEAL, F_SEAL_EXEC, False),
        (MFD_NOEXEC_SEAL | MFD_ALLOW_SEALING, F_SEAL_EXEC, False),
        (MFD_EXEC, F_SEAL_SEAL, True),
        (MFD_EXEC | MFD_ALLOW_SEALING, 0, True),
        (MFD_HUGETLB | MFD_ALLOW_SEALING, 0, True),
        (MFD_HUGETLB | 21 << 26, F_SEAL_SEAL, True),
        (MFD_EXEC | MFD_NOEXEC_SEAL, None, True),
        (21 << 26, None, True),
        (0x20, None, True),
    ],
)
def test_flags_of_memfd_create(flags, seals, mode_kept):
    async def caller(sys, _):
        fd = await sys.memfd_create("n", flags)
        if fd < 0:
            return fd
        was = await sys.get_seals(fd)
        # whether an x bit is there shows in what F_SEAL_EXEC implies; a file without any may not get one
        return was, await sys.fchmod(fd, 0o777)

    mode = -EPERM if not mode_kept else 0
    assert alone(caller, release="v7.3") == (-EINVAL if seals is None else (seals, mode))


@pytest.mark.parametrize("release", ["v5.10", "v6.1"])
@pytest.mark.parametrize("flags", [MFD_NOEXEC_SEAL, MFD_EXEC])
def test_young_flags_are_unknown_to_old_releases(flags, release):
    async def caller(sys, _):
        return await sys.memfd_create("n", flags)

    assert alone(caller, release=release) == -EINVAL


def test_huge_pages_are_unknown_to_v3_17():
    async def caller(sys, _):
        return await sys.memfd_create("n", MFD_HUGETLB)

    assert alone(caller) == -EINVAL


# ---- F_SEAL_EXEC


@pytest.mark.parametrize(
    ("release", "answer"),
    [
        ("v6.3", 0),
        ("v6.12", 0),
        ("v6.12.93", -EBUSY),
        ("v6.18", 0),
        ("v6.18.44", -EBUSY),
        ("v6.19", 0),
        ("v7.0", -EBUSY),
    ],
)
def test_seal_exec_and_a_writable_mapping(release, answer):
    async def caller(sys, _):
        fd = await filled(sys)
        window = await sys.mmap(fd, RW, MAP_SHARED)
        return await sys.add_seals(fd, F_SEAL_EXEC), await sys.get_seals(fd), await sys.munmap(window)

    assert alone(caller, release=release) == (answer, 0 if answer else 62, 0)


def test_seal_exec_of_a_file_that_is_not_executable():
    async def caller(sys, _):
        fd = await filled(sys)
        await sys.fchmod(fd, 0o644)
        return (
            await sys.add_seals(fd, F_SEAL_EXEC),
            await sys.get_seals(fd),
            [await sys.fchmod(fd, mode) for mode in (0o600, 0o666, 0o777, 0o670, 0o605, 0o700, 0o100)],
            await sys.pwrite(fd, b"w"),
        )

    assert alone(caller, release="v7.3") == (0, F_SEAL_EXEC, [0, 0, *[-EPERM] * 5], 1)


# ---- hugetlbfs


def test_a_file_of_huge_pages():
    async def caller(sys, _):
        fd = await sys.memfd_create("huge", MFD_HUGETLB | MFD_ALLOW_SEALING)
        grown = await sys.ftruncate(fd, PAGE_SIZE)
        window = await sys.mmap(fd, RW, MAP_SHARED)
        return (
            grown,
            await sys.ftruncate(fd, 100),
            await sys.write(fd, b""),
            await sys.pwrite(fd, b"x"),
            await sys.store(window, b"huge"),
            await sys.pread(fd, 4),
            await sys.add_seals(fd, F_SEAL_WRITE),
            await sys.mremap(window, PAGE_SIZE, 2 * PAGE_SIZE, MREMAP_MAYMOVE),
            await sys.munmap(window),
            await sys.fallocate(fd, PUNCH, 0, PAGE_SIZE),
            await sys.add_seals(fd, F_SEAL_WRITE),
            await sys.fallocate(fd, PUNCH, 0, PAGE_SIZE),
            await sys.mmap(fd, RW, MAP_SHARED),
        )

    expected = (0, -EINVAL, -EINVAL, -EINVAL, None, b"huge", -EBUSY, -EINVAL, 0, 0, 0, -EPERM, -EPERM)
    assert alone(caller, release="v7.3") == expected


def test_a_writable_mapping_makes_a_file_of_huge_pages_as_long_as_it_is():
    async def caller(sys, _):
        fd = await sys.memfd_create("huge", MFD_HUGETLB | MFD_ALLOW_SEALING)
        await sys.mmap(fd, PROT_READ, MAP_SHARED, 2 * PAGE_SIZE, PAGE_SIZE)
        unwritable = await sys.pread(fd, 8 * PAGE_SIZE)
        await sys.mmap(fd, RW, MAP_SHARED, 2 * PAGE_SIZE, PAGE_SIZE)
        return len(unwritable), len(await sys.pread(fd, 8 * PAGE_SIZE))

    assert alone(caller, release="v7.3") == (0, 3 * PAGE_SIZE)


def test_hugetlbfs_does_not_enforce_seal_exec():
    async def caller(sys, _):
        fd = await sys.memfd_create("huge", MFD_HUGETLB | MFD_ALLOW_SEALING)
        await sys.fchmod(fd, 0o644)
        return await sys.add_seals(fd, F_SEAL_EXEC), await sys.fchmod(fd, 0o777)

    assert alone(caller, release="v7.3") == (0, 0)


@pytest.mark.parametrize(
    ("release", "refused"), [("v5.1", False), ("v5.10", False), ("v5.12", False), ("v5.13", True), ("v7.3", True)]
)
def test_hugetlbfs_and_future_write(release, refused):
    async def caller(sys, _):
        fd = await sys.memfd_create("huge", MFD_HUGETLB | MFD_ALLOW_SEALING)
        await sys.ftruncate(fd, PAGE_SIZE)
        await sys.add_seals(fd, F_SEAL_FUTURE_WRITE)
        return await sys.mmap(fd, RW, MAP_SHARED), await sys.fallocate(fd, PUNCH, 0, PAGE_SIZE)

    window, punched = alone(caller, release=release)
    assert (window == -EPERM, punched) == (refused, -EPERM)


# ---- 1.8: what is mapped already


@pytest.mark.parametrize("release", ["v5.10", "v6.1", "v6.12.9", "v7.3"])
@pytest.mark.parametrize(
    ("prot", "flags", "counts"),
    [
        (RW, MAP_SHARED, True),
        (PROT_READ, MAP_SHARED, True),
        (PROT_NONE, MAP_SHARED, True),
        (PROT_READ, MAP_PRIVATE, False),
        (RW, MAP_PRIVATE, False),
    ],
)
@pytest.mark.parametrize("seal", [F_SEAL_WRITE, F_SEAL_FUTURE_WRITE])
def test_a_mapping_made_before_the_seal(prot, flags, counts, seal, release):
    async def caller(sys, _):
        fd = await filled(sys, 1, b"\xaa")
        window = await sys.mmap(fd, prot, flags)
        return (
            await sys.add_seals(fd, seal),
            await sys.get_seals(fd),
            await sys.mprotect(window, PAGE_SIZE, RW),
            await sys.store(window, b"\x07"),
            (await sys.pread(fd, 1))[0],
            await sys.add_seals(fd, F_SEAL_WRITE),
            await sys.munmap(window),
            await sys.add_seals(fd, F_SEAL_WRITE),
        )

    first = -EBUSY if counts and seal == F_SEAL_WRITE else 0
    byte = 7 if counts else 0xAA
    again = -EBUSY if counts else 0
    assert alone(caller, release=release) == (first, 0 if first else seal, 0, None, byte, again, 0, 0)


@pytest.mark.parametrize("strategy", EXACT, ids=lambda strategy: strategy.name)
@pytest.mark.parametrize("release", ["v3.17", "v7.3"])
def test_accounting(release, strategy):
    async def caller(sys, _):
        fd = await filled(sys, 2)
        window = await sys.mmap(fd, RW, MAP_SHARED)
        await sys.store(window, b"x")
        block = await sys.mmap(fd, PROT_READ, MAP_PRIVATE)
        answers = [
            await sys.mprotect(window, PAGE_SIZE, PROT_READ),
            await sys.add_seals(fd, F_SEAL_WRITE),
            await sys.mremap(window, PAGE_SIZE, 2 * PAGE_SIZE),
        ]
        moved = await sys.mremap(window, PAGE_SIZE, 2 * PAGE_SIZE, MREMAP_MAYMOVE)
        answers += [
            moved not in (window, block) and moved > 0,
            await sys.load(window, 1),
            await sys.load(moved, 2),
            await sys.add_seals(fd, F_SEAL_WRITE),
            await sys.mmap(fd, PROT_READ, MAP_PRIVATE | MAP_FIXED, 2 * PAGE_SIZE, address=moved) == moved,
            await sys.add_seals(fd, F_SEAL_WRITE),
        ]
        return answers

    assert alone(caller, release=release, strategy=strategy) == [
        0, -EBUSY, -ENOMEM, True, SIGSEGV, b"xr", -EBUSY, True, 0
    ]  # fmt: skip


@pytest.mark.parametrize(("release", "stays"), [("v3.17", False), ("v6.12.93", True), ("v7.3", True)])
def test_map_fixed_that_is_refused(release, stays):
    async def caller(sys, _):
        fd = await filled(sys)
        old = await sys.mmap(fd, PROT_READ, MAP_PRIVATE)
        await sys.add_seals(fd, F_SEAL_WRITE)
        return await sys.mmap(fd, RW, MAP_SHARED | MAP_FIXED, address=old), await sys.load(old, 4)

    assert alone(caller, release=release) == (-EPERM, b"orig" if stays else SIGSEGV)


# ---- MAP_FIXED


@pytest.mark.parametrize(("release", "still_there"), [("v6.12.9", False), ("v6.12.93", True)])
def test_what_a_refused_mapping_was_to_take_the_place_of(release, still_there):
    """Up to v6.12.93 F_SEAL_FUTURE_WRITE is looked at when what was there is gone."""

    async def caller(sys, _):
        fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
        await sys.pwrite(fd, b"orig")
        window = await sys.mmap(fd, PROT_READ, MAP_SHARED)
        await sys.add_seals(fd, F_SEAL_FUTURE_WRITE)
        over = await sys.mmap(fd, RW, MAP_SHARED | MAP_FIXED, PAGE_SIZE, 0, window)
        return over, await sys.load(window, 4)

    assert alone(caller, release=release) == (-EPERM, b"orig" if still_there else SIGSEGV)
