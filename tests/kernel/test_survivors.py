"""Answers and steps that nothing else in the tests tells from those of a kernel with one small mistake in it."""

from __future__ import annotations

import attrs
import pytest

from mmsim.cells import World
from mmsim.check import Test, check
from mmsim.kernel.memfd import has_extra_refs
from mmsim.kernel.page_alloc import alloc_page, put_page
from mmsim.kernel.releases import release_named
from mmsim.kernel.strategy import EVERY_PROMISE, linux
from mmsim.kernel.swap import INACTIVE, lru_add_drain, lru_cache, mark_page_accessed
from mmsim.kernel.types import Page
from mmsim.machine import boot
from mmsim.scenario import Scenario
from mmsim.strategies import STRATEGIES
from mmsim.strategies.copy_on_seal import copy_on_seal
from mmsim.strategies.delayed_unmap import delayed_unmap
from mmsim.strategies.looking import pages_in
from mmsim.strategies.refuse_if_pinned import refuse_if_pinned
from mmsim.strategies.unmap_then_look import unmap_then_wait
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.syscalls import (
    EBUSY,
    EFAULT,
    EINVAL,
    EPERM,
    F_SEAL_SHRINK,
    F_SEAL_WRITE,
    FS_IMMUTABLE_FL,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    MS_RDONLY,
    O_CREAT,
    O_RDWR,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    UFFDIO_REGISTER_MODE_MISSING,
    Device,
    Mount,
    fill,
)
from mmsim.verdict import Holds
from tests.kernel.alone import alone, filled

RW = PROT_READ | PROT_WRITE
DEVICE = Device("nvme")
FILES, DISK = Mount("tmp"), Mount("disk", "ext4")
NOW = "v6.18"


# ---- pages that wait in a CPU's cache


def test_a_page_that_is_read_again_and_again_waits_once():
    async def thread(sys, _):
        page = await alloc_page(sys.k)
        await page.lru.store(INACTIVE)
        for _ in range(3):
            await mark_page_accessed(sys.k, page)
        await put_page(sys.k, page)
        return await lru_cache(sys.k, sys.k.cpu).pages.load() == (page,), await page.refcount.load()

    assert alone(thread) == (True, 1)


async def look_then_drain(k, mapping):
    """-EBUSY where a page has a reference too many; what waits in this CPU's cache waits no longer."""
    pages = [await mapping.slot(index).load() for index in range(await pages_in(k, mapping))]
    extra = [await has_extra_refs(k, page) for page in pages if page is not None]
    await lru_add_drain(k)
    return -EBUSY if any(extra) else 0


looking = attrs.evolve(linux, name="looking", exclude_pins=look_then_drain, guards=EVERY_PROMISE)


def test_the_second_access_puts_a_page_into_the_cache_once_more():
    async def caller(sys, _):
        fd = await filled(sys)
        new, read = await sys.add_seals(fd, F_SEAL_WRITE), await sys.pread(fd, 4)
        return new, read, await sys.add_seals(fd, F_SEAL_WRITE), await sys.add_seals(fd, F_SEAL_WRITE)

    assert alone(caller, strategy=looking) == (-EBUSY, b"orig", -EBUSY, 0)


def test_a_page_of_a_disks_file_enters_the_cache_as_well():
    async def caller(sys, _):
        fd = await sys.open(DISK, "f", O_RDWR | O_CREAT)
        await sys.pwrite(fd, b"orig")
        return await sys.chattr(fd, FS_IMMUTABLE_FL), await sys.chattr(fd, FS_IMMUTABLE_FL)

    assert alone(caller, strategy=looking, mounts=(DISK,)) == (-EBUSY, 0)


def answers(setup, thread, strategy=looking):
    """Of one thread, whichever pages happen to fill its CPU's cache."""
    told = check(Test("alone", Scenario(setup=setup, threads=(thread,)), strategy, release_named(NOW)))
    return {dict(outcome)[thread.__name__] for outcome in told.outcomes}


def test_a_new_page_may_be_the_one_that_fills_the_cache():
    async def setup(sys):
        await sys.memfd_create("file", MFD_ALLOW_SEALING)

    async def caller(sys, _):
        await sys.pwrite(3, b"orig")
        return await sys.add_seals(3, F_SEAL_WRITE)

    assert answers(setup, caller) == {0, -EBUSY}


def test_what_was_there_before_is_active_and_enters_no_cache():
    async def caller(sys, _):
        return await sys.pread(3, 4), await sys.add_seals(3, F_SEAL_WRITE)

    assert answers(filled, caller) == {(b"orig", 0)}


def test_a_scanner_refers_to_a_page_that_follows_a_hole():
    async def setup(sys):
        await sys.pwrite(await sys.memfd_create("file", MFD_ALLOW_SEALING), b"orig", PAGE_SIZE)

    async def scanner(sys, _):
        await sys.scan_pages()

    async def sealer(sys, _):
        return await sys.add_seals(3, F_SEAL_WRITE)

    scene = Scenario(setup=setup, threads=(scanner, sealer))
    told = check(Test("scanned", scene, refuse_if_pinned, release_named(NOW)))
    assert {dict(outcome)["sealer"] for outcome in told.outcomes} == {0, -EBUSY}


def test_a_page_that_a_userfaultfd_makes_enters_the_cache_as_well():
    async def caller(sys, _):
        fd = await sys.memfd_create("file", MFD_ALLOW_SEALING)
        await sys.ftruncate(fd, PAGE_SIZE)
        window = await sys.mmap(fd, PROT_READ, MAP_SHARED)
        await sys.uffd_register(window, PAGE_SIZE, UFFDIO_REGISTER_MODE_MISSING)
        await sys.uffd_copy(window, fill(b"orig"))
        await sys.munmap(window)
        return await sys.add_seals(fd, F_SEAL_WRITE), await sys.add_seals(fd, F_SEAL_WRITE)

    assert alone(caller, strategy=looking, release="v6.1") == (-EBUSY, 0)


# ---- private pages


async def copied(sys):
    window = await sys.mmap(await filled(sys), PROT_READ, MAP_PRIVATE)
    await sys.uffd_register(window, PAGE_SIZE, UFFDIO_REGISTER_MODE_MISSING)
    await sys.uffd_copy(window, fill(b"mine"))
    return window


async def stored(sys, fd):
    window = await sys.mmap(fd, RW, MAP_PRIVATE)
    await sys.store(window, b"mine")
    await sys.mprotect(window, PAGE_SIZE, PROT_READ)
    return window


async def stored_to_a_file(sys):
    return await stored(sys, await filled(sys))


async def stored_to_a_huge_page(sys):
    return await stored(sys, await sys.dev_zero())


@pytest.mark.parametrize("made", [copied, stored_to_a_file, stored_to_a_huge_page])
def test_a_private_page_is_exclusive_from_the_start(made):
    """So a debugger writes it where it is, whoever else refers to it."""

    async def caller(sys, _):
        window = await made(sys)
        read, write = await sys.pipe()
        await sys.vmsplice(write, window, 4)
        await sys.mem_write(window, b"next")
        return await sys.read(read, 4), await sys.load(window, 4)

    assert alone(caller, release="v6.1") == (b"next", b"next")


# ---- sealing


@pytest.mark.parametrize(
    ("release", "tagging", "answer"),
    [("v3.17", True, False), ("v5.17", True, True), ("v3.17", False, True), ("v5.17", False, True)],
)
def test_fewer_references_than_page_tables(release, tagging, answer):
    """Two page tables came between the two loads: only the younger kernel looks at such a page again."""
    assert sampled(release, references=2, mapped=2, tagging=tagging) is answer


def sampled(release, references, mapped, *, tagging):
    k = attrs.make_class("K", {"release": attrs.field()})(release_named(release))
    look = has_extra_refs(k, Page(World(), "page"), tagging=tagging)
    look.send(None)
    look.send(references)
    with pytest.raises(StopIteration) as end:
        look.send(mapped)
    return end.value.value


@pytest.mark.parametrize("strategy", [wait_for_pins, unmap_then_wait], ids=lambda strategy: strategy.name)
def test_a_refused_seal_sleeps_between_its_scans(strategy):
    async def caller(sys, _):
        fd = await filled(sys)
        _, write = await sys.pipe()
        await sys.splice(fd, 0, write, PAGE_SIZE)
        return await sys.add_seals(fd, F_SEAL_WRITE)

    assert sleeps_of(caller, strategy) == [8_000_000, 20_000_000, 40_000_000, 80_000_000]


def sleeps_of(thread, strategy):
    """How long a thread that runs alone sleeps, in ns."""

    async def nothing(sys):
        return None

    booted = boot(Scenario(setup=nothing, threads=(thread,)), strategy, release_named(NOW))
    (running,) = (each.start() for each in booted.threads if not each.silent)
    values = dict(booted.initial)
    slept, result = [], None
    while True:
        try:
            step = running.send(result)
        except StopIteration:
            return slept
        if step.word == "sleep":
            slept += step.operands
        new, result = step.alternatives(values.get(step.cell, step.cell.initial) if step.cell else None)[0]
        if step.cell:
            values[step.cell] = new


@pytest.mark.parametrize(
    "strategy", [each for each in STRATEGIES if each.guards == EVERY_PROMISE], ids=lambda strategy: strategy.name
)
def test_what_a_design_denies_it_allows_again(strategy):
    async def caller(sys, fd):
        denied = await sys.chattr(fd, FS_IMMUTABLE_FL), await sys.mmap(fd, RW, MAP_SHARED)
        return denied, await sys.chattr(fd, 0), await sys.mmap(fd, RW, MAP_SHARED) > 0

    assert answers(filled, caller, strategy) == {((0, -EPERM), 0, True)}


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_a_seal_leaves_private_copies_alone(strategy):
    async def caller(sys, fd):
        window = await sys.mmap(fd, RW, MAP_PRIVATE)
        await sys.store(window, b"mine")
        return await sys.add_seals(fd, F_SEAL_WRITE), await sys.load(window, 4), await sys.pread(fd, 4)

    assert answers(filled, caller, strategy) == {(0, b"mine", b"orig")}


def test_a_mount_that_could_not_be_made_read_only_can_be_written_all_of_it():
    async def caller(sys, _):
        untouched, pinned = [await sys.open(FILES, name, O_RDWR | O_CREAT) for name in "ab"]
        await sys.pwrite(pinned, fill(b"orig"))
        window = await sys.mmap(pinned, RW, MAP_SHARED)
        io = await sys.submit_direct_read(DEVICE, window, fill(b"late"))
        await sys.munmap(window)
        await sys.close(untouched)
        await sys.close(pinned)
        remounted = await sys.remount(FILES, MS_RDONLY)
        mapped = await sys.mmap(await sys.open(FILES, "a", O_RDWR), RW, MAP_SHARED)
        return remounted, mapped > 0, await sys.wait_for(io)

    assert alone(caller, strategy=delayed_unmap, devices=(DEVICE,), mounts=(FILES,)) == (-EBUSY, True, PAGE_SIZE)


@pytest.mark.parametrize(("offset", "length"), [(0, 100), (100, PAGE_SIZE), (-PAGE_SIZE, PAGE_SIZE), (0, -PAGE_SIZE)])
def test_udmabuf_takes_whole_pages(offset, length):
    async def caller(sys, _):
        fd = await filled(sys)
        await sys.add_seals(fd, F_SEAL_SHRINK)
        return await sys.udmabuf_create(fd, offset, length)

    assert alone(caller, release="v6.1") == -EINVAL


def test_a_buffer_that_ends_early_is_given_back_whole():
    async def caller(sys, _):
        window = await sys.mmap(await filled(sys), RW, MAP_SHARED)
        await sys.store(window, b"mine")
        return await sys.submit_direct_read(DEVICE, window, fill(b"late", 2))

    assert alone(caller, devices=(DEVICE,)) == -EFAULT


# ---- files on a disk


def test_a_hole_read_from_the_disk_is_unlocked_again():
    async def caller(sys, _):
        fd = await sys.open(DISK, "f", O_RDWR | O_CREAT)
        await sys.ftruncate(fd, PAGE_SIZE)
        return await sys.pread(fd, 4), await sys.pwrite(fd, b"late"), await sys.pread(fd, 4)

    assert alone(caller, mounts=(DISK,)) == (bytes(4), 4, b"late")


def test_the_second_page_is_migrated_to_its_own_place():
    async def caller(sys, _):
        fd = await sys.open(DISK, "f", O_RDWR | O_CREAT)
        await sys.pwrite(fd, fill(b"1st.") + fill(b"2nd."))
        window = await sys.mmap(fd, RW, MAP_SHARED, 2 * PAGE_SIZE)
        await sys.store(window + PAGE_SIZE, b"mine")
        # Twice: what was put in its place has to know where that is.
        moved = await sys.move_pages(window + PAGE_SIZE), await sys.move_pages(window + PAGE_SIZE)
        return moved, (await sys.pread(fd, 4), await sys.pread(fd, 4, PAGE_SIZE))

    assert alone(caller, mounts=(DISK,)) == ((0, 0), (b"1st.", b"mine"))


@pytest.mark.parametrize("strategy", [wait_for_pins, copy_on_seal], ids=lambda strategy: strategy.name)
def test_so_is_that_of_a_memfd_and_what_was_put_in_its_place(strategy):
    async def caller(sys, _):
        fd = await filled(sys)
        await sys.pwrite(fd, fill(b"2nd."), PAGE_SIZE)
        await sys.add_seals(fd, F_SEAL_WRITE)
        window = await sys.mmap(fd, PROT_READ, MAP_PRIVATE, 2 * PAGE_SIZE)
        await sys.load(window + PAGE_SIZE, 4)
        return await sys.move_pages(window + PAGE_SIZE), await sys.pread(fd, 4), await sys.pread(fd, 4, PAGE_SIZE)

    assert alone(caller, strategy=strategy) == (0, b"orig", b"2nd.")


# ---- pipes


def test_tee_stops_where_it_was_told_to():
    async def caller(sys, _):
        source, target = await sys.pipe(), await sys.pipe()
        await sys.write(source[1], fill(b"orig", 2))
        await sys.write(target[1], fill(b"full", 14))
        done = await sys.tee(source[0], target[1], PAGE_SIZE)
        return done, await sys.write(target[1], fill(b"last")), await sys.tee(source[0], source[1], 1)

    assert alone(caller, release=NOW) == (PAGE_SIZE, PAGE_SIZE, -EINVAL)


def test_tee_stops_where_the_pipe_is_full():
    async def caller(sys, _):
        source, target = await sys.pipe(), await sys.pipe()
        await sys.write(source[1], fill(b"orig", 2))
        await sys.write(target[1], fill(b"full", 15))
        return await sys.tee(source[0], target[1], 2 * PAGE_SIZE)

    assert alone(caller, release=NOW) == PAGE_SIZE


def test_splice_to_a_file_stops_within_the_second_buffer():
    async def caller(sys, _):
        fd = await filled(sys)
        read, write = await sys.pipe()
        await sys.write(write, fill(b"page") + b"tail")
        done = await sys.splice(read, None, fd, PAGE_SIZE + 2)
        return done, await sys.pread(fd, 9, PAGE_SIZE), await sys.read(read, 9)

    assert alone(caller, release=NOW) == (PAGE_SIZE + 2, b"ta", b"il")


@pytest.mark.parametrize(("offset", "rest"), [(None, b"3456"), (1, b"0123")])
def test_sendfile_moves_along_the_file_unless_it_is_told_where(offset, rest):
    async def caller(sys, _):
        fd = await sys.memfd_create("file")
        await sys.pwrite(fd, b"0123456789")
        one, other = await sys.socketpair()
        sent = await sys.sendfile(one, fd, offset, 3)
        return sent, await sys.read(other, 9), await sys.read(fd, 4)

    start = offset or 0
    assert alone(caller, release=NOW) == (3, b"0123456789"[start : start + 3], rest)


def test_sendfile_keeps_the_page_of_a_hole_until_it_is_sent():
    async def caller(sys, _):
        fd = await sys.memfd_create("file")
        await sys.ftruncate(fd, 4)
        one, other = await sys.socketpair()
        return await sys.sendfile(one, fd, 0, 4), await sys.read(other, 4)

    assert alone(caller, release=NOW) == (4, bytes(4))


def test_vmsplice_takes_no_more_slots_than_it_needs():
    async def caller(sys, _):
        window = await sys.mmap(await filled(sys, 2), PROT_READ, MAP_PRIVATE, 2 * PAGE_SIZE)
        read, write = await sys.pipe()
        done = await sys.vmsplice(write, window, PAGE_SIZE)
        return done, await sys.write(write, fill(b"more", 15)), (await sys.read(read, PAGE_SIZE))[:4]

    assert alone(caller, release=NOW) == (PAGE_SIZE, 15 * PAGE_SIZE, b"orig")


async def compacts(sys, _fd):
    await sys.compact_memory()


@pytest.mark.parametrize("reduce", [True, False], ids=["reduced", "unreduced"])
def test_what_is_cut_off_within_a_page_stays_so_though_the_page_migrates(reduce):
    async def cuts_and_grows(sys, fd):
        await sys.ftruncate(fd, 100)
        await sys.ftruncate(fd, 200)
        return await sys.pread(fd, 100, 100) == bytes(100)

    async def written(sys):
        fd = await sys.memfd_create("frame")
        await sys.pwrite(fd, fill(b"orig"))
        return fd

    scenario = Scenario(setup=written, threads=(cuts_and_grows, compacts), words_per_page=1)
    found = check(Test("t", scenario, wait_for_pins, release_named("v6.12")), reduce=reduce)
    assert isinstance(found, Holds), found
    assert {dict(outcome)["cuts_and_grows"] for outcome in found.outcomes} == {True}
