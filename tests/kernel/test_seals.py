"""(seals, call) -> answer: the rows of kernel-facts 1.7 and 1.8 that this model has verbs for.

The tables were observed on Linux 5.10 to 7.3.  Where releases differ, a row has a line for each.
"""

from __future__ import annotations

import pytest

from mmsim.strategies import STRATEGIES
from mmsim.syscalls import (
    EBADF,
    EBUSY,
    EINVAL,
    EPERM,
    F_SEAL_GROW,
    F_SEAL_SEAL,
    F_SEAL_SHRINK,
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    MFD_CLOEXEC,
    PAGE_SIZE,
    PROT_NONE,
    PROT_READ,
    PROT_WRITE,
    SIGSEGV,
    fill,
)
from tests.kernel.alone import EXACT, alone, filled, outcomes

RELEASES = ("v3.17", "v6.1", "v6.12.9")
SIZE = 2 * PAGE_SIZE
RW = PROT_READ | PROT_WRITE

#          none SEAL SHR GRW WR  SHR+GRW WR+SHR WR+GRW WR+SHR+GRW all
COLUMNS = (0x0, 0x1, 0x2, 0x4, 0x8, 0x6, 0xA, 0xC, 0xE, 0xF)


def mapping(prot, flags):
    async def call(sys, fd):
        return min(await sys.mmap(fd, prot, flags, SIZE), 0)

    return call


def pwrite(length, offset):
    async def call(sys, fd):
        return await sys.pwrite(fd, bytes(length), offset)

    return call


def ftruncate(length):
    async def call(sys, fd):
        return await sys.ftruncate(fd, length)

    return call


def add(seals):
    async def call(sys, fd):
        return await sys.add_seals(fd, seals)

    return call


async def get_seals(sys, fd):
    return await sys.get_seals(fd)


async def write_nothing(sys, fd):
    return await sys.write(fd, b"")


async def write_four(sys, fd):
    return await sys.write(fd, b"four")


async def add_same(sys, fd):
    return await sys.add_seals(fd, await sys.get_seals(fd))


async def private_store(sys, fd):
    window = await sys.mmap(fd, RW, MAP_PRIVATE)
    fault = await sys.store(window, b"\x07")
    seen = await sys.load(window, 1)
    return fault is None and seen == b"\x07" and (await sys.pread(fd, 1))[0]


OLD = ("v3.17", "v6.1")
ROWS = [
    # call, name, releases, answers
    (get_seals, "get_seals", RELEASES, "0 1 2 4 8 6 10 12 14 15"),
    (write_four, "write(4@0)", RELEASES, "4 4 4 4 P 4 P P P P"),
    (write_nothing, "write(0 bytes)", RELEASES, "0 0 0 0 0 0 0 0 0 0"),
    (pwrite(0, SIZE), "pwrite(0@eof)", RELEASES, "0 0 0 0 0 0 0 0 0 0"),
    (pwrite(4, SIZE - 4), "pwrite(4 up to eof)", RELEASES, "4 4 4 4 P 4 P P P P"),
    (pwrite(4, SIZE), "pwrite(4@eof)", RELEASES, "4 4 4 P P P P P P P"),
    (pwrite(4, SIZE - 2), "pwrite(4 straddling eof)", OLD, "4 4 4 2 P 2 P P P P"),
    (pwrite(4, SIZE - 2), "pwrite(4 straddling eof)", ("v6.12.9",), "4 4 4 P P P P P P P"),
    (pwrite(16384, 0), "pwrite(16384@0)", OLD, "16384 16384 16384 8192 P 8192 P P P P"),
    (pwrite(16384, 0), "pwrite(16384@0)", ("v6.12.9",), "16384 16384 16384 P P P P P P P"),
    (ftruncate(SIZE), "ftruncate(same)", RELEASES, "0 0 0 0 0 0 0 0 0 0"),
    (ftruncate(100), "ftruncate(shrink)", RELEASES, "0 0 P 0 0 P P 0 P P"),
    (ftruncate(2 * SIZE), "ftruncate(grow)", RELEASES, "0 0 0 P 0 P 0 P P P"),
    (mapping(RW, MAP_SHARED), "mmap SHARED RW", RELEASES, "0 0 0 0 P 0 P P P P"),
    (mapping(PROT_WRITE, MAP_SHARED), "mmap SHARED W", RELEASES, "0 0 0 0 P 0 P P P P"),
    (mapping(PROT_READ, MAP_SHARED), "mmap SHARED R", OLD, "0 0 0 0 P 0 P P P P"),  # as 5.10.218 answers
    (mapping(PROT_READ, MAP_SHARED), "mmap SHARED R", ("v6.12.9",), "0 0 0 0 0 0 0 0 0 0"),
    (mapping(PROT_NONE, MAP_SHARED), "mmap SHARED NONE", OLD, "0 0 0 0 P 0 P P P P"),
    (mapping(PROT_NONE, MAP_SHARED), "mmap SHARED NONE", ("v6.12.9",), "0 0 0 0 0 0 0 0 0 0"),
    (mapping(PROT_READ, MAP_PRIVATE), "mmap PRIVATE R", RELEASES, "0 0 0 0 0 0 0 0 0 0"),
    (mapping(RW, MAP_PRIVATE), "mmap PRIVATE RW", RELEASES, "0 0 0 0 0 0 0 0 0 0"),
    (private_store, "PRIVATE store then file byte", RELEASES, "170 " * 10),
    (add_same, "add_seals(same)", RELEASES, "0 P 0 0 0 0 0 0 0 P"),
    (add(0), "add_seals(0)", RELEASES, "0 P 0 0 0 0 0 0 0 P"),
    (add(F_SEAL_WRITE), "add_seals(WRITE)", RELEASES, "0 P 0 0 0 0 0 0 0 P"),
    (add(0x40), "add_seals(0x40)", RELEASES, "I " * 10),
    (add(0x40 | F_SEAL_SEAL), "add_seals(0x40|SEAL)", RELEASES, "I " * 10),
    (add(-1), "add_seals(-1)", RELEASES, "I " * 10),
    (add(1 << 32), "add_seals(1<<32)", OLD, "I " * 10),
    (add(1 << 32), "add_seals(1<<32)", ("v6.12.9",), "0 P 0 0 0 0 0 0 0 P"),
    (add(1 << 32 | F_SEAL_SHRINK), "add_seals(1<<32|SHRINK)", OLD, "I " * 10),
    (add(1 << 32 | F_SEAL_SHRINK), "add_seals(1<<32|SHRINK)", ("v6.12.9",), "0 P 0 0 0 0 0 0 0 P"),
]
CASES = [
    pytest.param(call, release, answers, id=f"{name} {release}")
    for call, name, releases, answers in ROWS
    for release in releases
]
ERRNO = {"P": -EPERM, "I": -EINVAL}


def wanted(answers):
    return [ERRNO[word] if word in ERRNO else int(word) for word in answers.split()]


def answers_of(call, release, strategy=STRATEGIES[1], size=SIZE):
    async def caller(sys, _):
        answers = []
        for seals in COLUMNS:
            fd = await filled(sys, 2, b"\xaa")
            await sys.ftruncate(fd, size)
            assert await sys.add_seals(fd, seals) == 0
            answers.append(await call(sys, fd))
        return tuple(answers)

    return list(alone(caller, release=release, strategy=strategy))


@pytest.mark.parametrize(("call", "release", "answers"), CASES)
def test_the_table_of_seals(call, release, answers):
    assert answers_of(call, release) == wanted(answers)


@pytest.mark.parametrize("strategy", EXACT, ids=lambda strategy: strategy.name)
@pytest.mark.parametrize("name", ["write(4@0)", "mmap SHARED RW", "ftruncate(shrink)", "add_seals(WRITE)"])
def test_undisturbed_the_strategies_answer_alike(name, strategy):
    call, answers = next((call, answers) for call, row, _, answers in ROWS if row == name)
    assert answers_of(call, "v3.17", strategy) == wanted(answers)


@pytest.mark.parametrize(
    ("release", "answers"),
    [
        ("v3.17", "8192 8192 8192 4096 P 4096 P P P P"),
        ("v6.1", "8192 8192 8192 4096 P 4096 P P P P"),
        ("v6.12.9", "8192 8192 8192 P P P P P P P"),  # chunks of a large folio, refused as a whole
    ],
)
def test_a_write_over_a_size_within_a_page(release, answers):
    assert answers_of(pwrite(8192, 0), release, size=6000) == wanted(answers)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    ("flags", "name", "seals"),
    [
        (0, "n", F_SEAL_SEAL),
        (MFD_CLOEXEC, "n", F_SEAL_SEAL),
        (MFD_ALLOW_SEALING, "n", 0),
        (MFD_ALLOW_SEALING | MFD_CLOEXEC, "", 0),
        (0, "n" * 249, F_SEAL_SEAL),
        (0, "n" * 250, None),
        (0, "ä" * 125, None),  # bytes count, not letters
        (MFD_ALLOW_SEALING, "ä" * 124, 0),
        (0x20, "n", None),
        (1 << 25, "n", None),
        (MFD_ALLOW_SEALING | 0x40, "n", None),
    ],
)
def test_memfd_create(flags, name, seals, release):
    async def caller(sys, _):
        fd = await sys.memfd_create(name, flags)
        return fd if fd < 0 else (await sys.get_seals(fd), await sys.pread(fd, 1))

    assert alone(caller, release=release) == (-EINVAL if seals is None else (seals, b""))


def test_a_file_made_without_sealing_refuses_all_seals():
    async def caller(sys, _):
        fd = await filled(sys, flags=0)
        return await sys.add_seals(fd, 0), await sys.add_seals(fd, F_SEAL_WRITE), await sys.add_seals(fd, 0x100)

    assert alone(caller) == (-EPERM, -EPERM, -EINVAL)


def test_order_of_errors_in_add_seals():
    async def caller(sys, _):
        fd = await filled(sys)
        window = await sys.mmap(fd, RW, MAP_SHARED)
        return (
            await sys.add_seals(99, 1 << 32 | 0x40),  # no such file comes before bad bits
            await sys.add_seals(fd, F_SEAL_WRITE | 0x40),  # bad bits before a mapping that keeps F_SEAL_WRITE away
            await sys.add_seals(fd, F_SEAL_SEAL),
            await sys.add_seals(fd, F_SEAL_WRITE),  # sealed against sealing before the mapping is looked at
            await sys.munmap(window),
        )

    assert alone(caller) == (-EBADF, -EINVAL, 0, -EPERM, 0)


# ---- 1.8: what is mapped already, and what counts


MAPPED = [
    ("SHARED RW", RW, MAP_SHARED, -EBUSY),
    ("SHARED R", PROT_READ, MAP_SHARED, -EBUSY),
    ("SHARED NONE", PROT_NONE, MAP_SHARED, -EBUSY),
    ("PRIVATE R", PROT_READ, MAP_PRIVATE, 0),
    ("PRIVATE RW", RW, MAP_PRIVATE, 0),
]


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("strategy", EXACT, ids=lambda strategy: strategy.name)
@pytest.mark.parametrize("touch", ["untouched", "read", "written"])
@pytest.mark.parametrize(("prot", "flags", "answer"), [row[1:] for row in MAPPED], ids=[row[0] for row in MAPPED])
def test_a_mapping_and_the_seal(prot, flags, answer, touch, strategy, release):
    async def caller(sys, _):
        fd = await filled(sys, 1, b"\xaa")
        window = await sys.mmap(fd, prot, flags)
        if touch == "read":
            await sys.load(window, 1)
        if touch == "written":
            await sys.store(window, b"\x07")
        first = await sys.add_seals(fd, F_SEAL_WRITE)
        seals = await sys.get_seals(fd)
        fault = await sys.store(window, b"\x07")
        byte = (await sys.pread(fd, 1))[0]
        return first, seals, fault, byte, await sys.munmap(window), await sys.add_seals(fd, F_SEAL_WRITE)

    fault = None if prot & PROT_WRITE else SIGSEGV
    byte = 7 if prot & PROT_WRITE and flags == MAP_SHARED else 0xAA
    seals = 0 if answer else F_SEAL_WRITE
    assert alone(caller, release=release, strategy=strategy) == (answer, seals, fault, byte, 0, 0)


def test_a_read_only_mapping_of_a_sealed_file_stays_read_only():
    async def caller(sys, _):
        fd = await filled(sys)
        await sys.add_seals(fd, F_SEAL_WRITE)
        window = await sys.mmap(fd, PROT_READ, MAP_SHARED)
        return (
            await sys.load(window, 4),
            await sys.store(window, b"x"),
            await sys.add_seals(fd, F_SEAL_SHRINK),
            await sys.munmap(window),
            await sys.pread(fd, 4),
        )

    assert alone(caller, release="v6.12.9") == (b"orig", SIGSEGV, 0, 0, b"orig")


@pytest.mark.parametrize("strategy", EXACT, ids=lambda strategy: strategy.name)
@pytest.mark.parametrize("release", RELEASES)
def test_half_unmapped(release, strategy):
    async def caller(sys, _):
        fd = await filled(sys, 2)
        window = await sys.mmap(fd, RW, MAP_SHARED, SIZE)
        await sys.store(window, b"x")
        return (
            await sys.munmap(window),
            await sys.add_seals(fd, F_SEAL_WRITE),
            await sys.munmap(window + PAGE_SIZE),
            await sys.add_seals(fd, F_SEAL_WRITE),
        )

    assert alone(caller, release=release, strategy=strategy) == (0, -EBUSY, 0, 0)


@pytest.mark.parametrize("strategy", EXACT, ids=lambda strategy: strategy.name)
def test_the_parent_unmapped_and_the_child_holds(strategy):
    async def child(sys, _):
        return None

    async def caller(sys, _):
        fd = await filled(sys)
        window = await sys.mmap(fd, RW, MAP_SHARED)
        await sys.fork(child)
        return await sys.munmap(window), await sys.add_seals(fd, F_SEAL_WRITE), await sys.get_seals(fd)

    assert alone(caller, children=(child,), strategy=strategy) == (0, -EBUSY, 0)


@pytest.mark.parametrize("strategy", EXACT, ids=lambda strategy: strategy.name)
def test_the_child_exits_then_the_seal_is_granted(strategy):
    async def child(sys, fd):
        await sys.exit()

    async def child_that_seals(sys, _):
        return await sys.add_seals(3, F_SEAL_WRITE)

    async def caller(sys, _):
        fd = await filled(sys)
        window = await sys.mmap(fd, RW, MAP_SHARED)
        await sys.fork(child)
        await sys.munmap(window)
        refused = await sys.add_seals(fd, F_SEAL_WRITE)
        await sys.fork(child_that_seals)
        return refused

    told = outcomes(caller, children=(child, child_that_seals), strategy=strategy)
    assert told == {"caller": -EBUSY, "child": None, "child_that_seals": 0}


def test_a_failed_seal_leaves_nothing_behind():
    async def caller(sys, _):
        fd = await filled(sys)
        window = await sys.mmap(fd, RW, MAP_SHARED)
        failed = await sys.add_seals(fd, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
        return (
            failed,
            await sys.get_seals(fd),
            await sys.pwrite(fd, b"w"),
            await sys.mmap(fd, RW, MAP_SHARED) > window,
            await sys.ftruncate(fd, 1),
        )

    assert alone(caller) == (-EBUSY, 0, 1, True, 0)


def test_the_file_closed_and_the_mapping_stays():
    async def caller(sys, _):
        fd = await filled(sys)
        other = await sys.dup(fd)
        window = await sys.mmap(fd, RW, MAP_SHARED)
        return (
            await sys.close(fd),
            await sys.store(window, b"x"),
            await sys.add_seals(other, F_SEAL_WRITE),
            await sys.munmap(window),
            await sys.add_seals(other, F_SEAL_WRITE),
            await sys.pread(other, 4),
        )

    assert alone(caller) == (0, None, -EBUSY, 0, 0, b"xrig")


def test_seals_belong_to_the_file_and_not_to_the_descriptor():
    async def caller(sys, _):
        fd = await filled(sys)
        other = await sys.dup(fd)
        await sys.add_seals(other, F_SEAL_GROW)
        await sys.add_seals(fd, F_SEAL_WRITE)
        return await sys.get_seals(fd), await sys.get_seals(other), await sys.pwrite(other, fill(b"x"))

    assert alone(caller) == (F_SEAL_GROW | F_SEAL_WRITE, F_SEAL_GROW | F_SEAL_WRITE, -EPERM)


def test_a_name_is_no_part_of_who_a_file_is():
    """memfd_create(2): files may have the same name without any side effects, from one process or two."""

    async def maker(sys):
        first = await sys.memfd_create("a#1", MFD_ALLOW_SEALING)
        second = await sys.memfd_create("a", MFD_ALLOW_SEALING)
        third = await sys.memfd_create("a", MFD_ALLOW_SEALING)
        assert await sys.add_seals(third, F_SEAL_SEAL) == 0
        await sys.fork(child)
        return [await sys.get_seals(fd) for fd in (first, second, third)]

    async def child(sys, _shared):
        files = [await sys.memfd_create(name, MFD_ALLOW_SEALING) for name in ("a#1", "a", "a")]
        return [await sys.get_seals(fd) for fd in files]

    async def thread(sys, _shared):
        return await maker(sys)

    assert outcomes(thread, children=(child,)) == {"thread": [0, 0, F_SEAL_SEAL], "child": [0, 0, 0]}
