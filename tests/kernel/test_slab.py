"""Freed objects: new ones every time for the checker, the last one first for a machine that runs for long."""

from __future__ import annotations

import pytest

from mmsim.cells import Cell
from mmsim.kernel.inode import GONE
from mmsim.kernel.page_alloc import alloc_page, put_page
from mmsim.kernel.releases import release_named
from mmsim.kernel.swap import ACTIVE
from mmsim.kernel.types import CACHED, PG_DIRTY, Inode, Io, Page
from mmsim.machine import boot
from mmsim.strategies import BY_NAME
from mmsim.syscalls import (
    F_SEAL_GROW,
    F_SEAL_SEAL,
    F_SEAL_SHRINK,
    F_SEAL_WRITE,
    FS_IMMUTABLE_FL,
    MAP_FIXED,
    MAP_PRIVATE,
    MFD_ALLOW_SEALING,
    MFD_HUGETLB,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Device,
    fill,
)
from mmsim.timed.learnt import Learnt
from mmsim.timed.presets import CLOUD
from mmsim.timed.run import simulate
from mmsim.timed.workloads import WORKLOADS, Load
from mmsim.timed.workloads.frames import WAITING
from mmsim.timed.workloads.probe import Probe
from mmsim.timed.workloads.workload import metered
from tests.kernel.alone import alone

V6_18 = release_named("v6.18")
NVME = Device("nvme")
ELSEWHERE = 0x90000


def world_after(name, until_ns, *, reuses):
    """A workload's world when it has run for so long, and how often what it counts was done."""
    probe = Probe(None, 1e9, 0, CLOUD.syscall)
    booted = boot(
        metered(WORKLOADS[name].scenario(Load(2, 2)), probe),
        BY_NAME["delayed_unmap"],
        V6_18,
        reuses=reuses,
        learn=Learnt,
    )
    simulate(booted, cpus=2, until_ns=until_ns, observer=probe)
    return booted.world, probe.done(WORKLOADS[name].operation)


def test_a_run_that_is_longer_has_no_more_objects():
    world, frames = world_after("video_frames", 2e7, reuses=True)
    pages, inodes, ios, cells = (len(world.of(kind)) for kind in (Page, Inode, Io, Cell))
    assert frames > 300
    assert inodes <= 2 * (WAITING + 3)  # of each process: one being filled, those that wait, one looked at, one closed
    assert ios == 2
    assert pages < frames / 5  # some wait in pagevecs, which are not always equally full
    assert cells < 60 * (pages + inodes)


@pytest.mark.parametrize("flags", [MFD_ALLOW_SEALING, 0])
def test_a_file_that_was_another_is_as_a_new_one(flags):
    """Whatever was done to it: written, sealed, made immutable, its mode changed, read from where it was left."""

    async def thread(sys, _):
        files = []
        for number in range(3):
            fd = await sys.memfd_create("frame", flags)
            files.append(await sys._file(fd))
            inode = files[-1].inode
            states = [await cell.load() for cell in (inode.i_size, inode.i_flags, inode.i_mode, inode.i_writecount)]
            assert states == [0, 0, 0o777, 0]
            assert await sys.get_seals(fd) == (0 if flags else F_SEAL_SEAL)
            assert await inode.mapping.i_mmap_writable.load() == 0
            assert await sys.write(fd, fill(b"orig")) == PAGE_SIZE  # at the beginning
            assert await sys.pread(fd, 4, PAGE_SIZE) == b""
            await sys.fchmod(fd, number)
            await sys.chattr(fd, FS_IMMUTABLE_FL)
            await sys.chattr(fd, 0)
            await sys.add_seals(fd, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK)
            await sys.close(fd)
        return len(set(files))

    assert alone(thread, evicts=True, reuses=True, release="v6.12") == 1
    assert alone(thread, evicts=True, release="v6.12") == 3


def test_files_of_other_names_or_kinds_are_others():
    async def thread(sys, _):
        files = []
        for name, flags in (("a", 0), ("b", 0), ("a", MFD_HUGETLB), ("a", 0)):
            fd = await sys.memfd_create(name, flags)
            files.append(await sys._file(fd))
            await sys.close(fd)
        return [files.index(file) for file in files], [file.inode.sb.kind for file in files]

    told = alone(thread, evicts=True, reuses=True, release="v6.12")
    assert told == ([0, 1, 2, 0], ["tmpfs", "tmpfs", "hugetlbfs", "tmpfs"])


def test_a_page_that_was_another_is_as_a_new_one():
    async def thread(sys, _):
        pages = []
        for _ in range(3):
            page = await alloc_page(sys.k)
            pages.append(page)
            assert [await page.word(0).load(), await page.flags.load(), await page.lru.load()] == [
                bytes(PAGE_SIZE),
                frozenset(),
                CACHED,
            ]
            await page.flags.store(frozenset({PG_DIRTY}))
            await page.lru.store(ACTIVE)
            await put_page(sys.k, page)
        huge = await alloc_page(sys.k, 512)
        await put_page(sys.k, huge)
        return len(set(pages)), huge in pages, huge.nr_pages

    assert alone(thread, reuses=True) == (1, False, 512)
    assert alone(thread) == (3, False, 512)


def test_the_last_that_was_freed_is_the_first_to_be_used():
    async def thread(sys, _):
        first, second = await alloc_page(sys.k), await alloc_page(sys.k)
        await put_page(sys.k, first)
        await put_page(sys.k, second)
        again = [await alloc_page(sys.k) for _ in range(2)]
        for page in again:
            await put_page(sys.k, page)
        return [again[0] is second, again[1] is first]

    assert alone(thread, reuses=True) == [True, True]


def test_an_io_that_is_used_again_is_not_the_one_that_its_device_is_about_to_forget():
    async def thread(sys, _):
        fd = await sys.memfd_create("frame")
        await sys.ftruncate(fd, PAGE_SIZE)
        for content in (b"a", b"b"):
            buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE)
            await sys.store(buffer, content)
            assert await sys.wait_for(await sys.submit_direct_read(NVME, buffer, b"d" * PAGE_SIZE)) == PAGE_SIZE
            assert await sys.load(buffer, 1) == b"d"
            await sys.munmap(buffer)
            # Takes the page that the I/O went to, so that the next buffer is another one.
            other = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, PAGE_SIZE, 0, ELSEWHERE)
            await sys.store(other, b"o")

    longest = []

    def seen(step, values):
        if step.cell is not None and step.cell.name == "nvme.queue":
            longest.append(len(values[step.cell]))

    alone(thread, reuses=True, devices=(NVME,), seen=seen)
    assert max(longest) == 2  # the second is queued before the first is taken off


def test_an_inode_is_gone_before_it_can_be_another():
    async def thread(sys, _):
        await sys.close(await sys.memfd_create("frame"))

    freed = []

    def seen(step, values):
        for operand in step.operands:
            if step.cell is not None and "_slab" in step.cell.name and isinstance(operand, Inode):
                freed.append(values[operand.mapping.i_mmap_writable])

    alone(thread, evicts=True, reuses=True, seen=seen)
    assert freed == [GONE]


def test_where_nothing_is_used_again_each_frame_is_a_new_file():
    world, frames = world_after("video_frames", 4e6, reuses=False)
    assert len(world.of(Inode)) > frames > 10
    assert not any(page.slab for page in world.of(Page))


def test_what_is_used_again_is_as_good_as_new():
    """Every I/O, every page and every file of one process is one that was freed before, and nothing is amiss."""
    world, ios = world_after("munmap_storm", 1e7, reuses=True)
    assert ios > 100
    assert len(world.of(Io)) == 2
    assert all(io.slab is not None for io in world.of(Io))
