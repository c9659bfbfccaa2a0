"""Mistakes in mounts, open files and writeback, each of which the checker must find."""

from __future__ import annotations

import attrs
import pytest

from mmsim.catalogue import find
from mmsim.check import Bounds, Test, check
from mmsim.check.books import CLEAN, FILES, TAGGED, WRITERS
from mmsim.check.promises import IMMUTABLE, REMOUNTED
from mmsim.check.properties import STABLE
from mmsim.kernel.filemap import clear_page_flag, read_cache_page, set_page_dirty
from mmsim.kernel.page_alloc import put_page
from mmsim.kernel.releases import release_named
from mmsim.kernel.strategy import Guarantee
from mmsim.kernel.types import PG_DIRTY
from mmsim.scenario import Scenario
from mmsim.strategies.delayed_unmap import delayed_unmap
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.syscalls import (
    EBADF,
    EBUSY,
    EROFS,
    FS_IMMUTABLE_FL,
    MAP_SHARED,
    MS_RDONLY,
    O_CREAT,
    O_RDWR,
    PROT_READ,
    PROT_WRITE,
    Device,
    Mount,
    fill,
)
from mmsim.verdict import Holds
from tests.mutants.judged import Edit, Mutant, each

RW = PROT_READ | PROT_WRITE
SLOW = Device("slow")
TMP, DISK, PICKY = Mount("tmp"), Mount("disk", "ext4"), Mount("disk", "ext4", checksums=True)
WINDOW = 0x10000
EVERYTHING = frozenset(Guarantee)


def mounted(mount, *threads, mapped=False, devices=()):
    async def setup(sys):
        fd = await sys.open(mount, "f", O_RDWR | O_CREAT)
        await sys.pwrite(fd, fill(b"orig"))
        await sys.sync()
        if mapped:
            await sys.mmap(fd, RW, MAP_SHARED)
            await sys.close(fd)

    return Scenario(setup=setup, threads=threads, mounts=(mount,), devices=devices)


def remounting(mount):
    async def remounter(sys, _):
        return await sys.remount(mount, MS_RDONLY)

    return remounter


def opening(mount):
    async def opener(sys, _):
        fd = await sys.open(mount, "f", O_RDWR)
        if fd > 0:
            await sys.pwrite(fd, fill(b"late"))

    return opener


async def write_and_close(sys, _):
    await sys.pwrite(3, fill(b"late"))
    await sys.close(3)


async def closer(sys, _):
    await sys.close(3)


async def map_and_close(sys, _):
    await sys.mmap(3, RW, MAP_SHARED)


async def store_and_unmap(sys, _):
    await sys.store(WINDOW, fill(b"late"))
    await sys.munmap(WINDOW)


async def storer(sys, _):
    await sys.store(WINDOW, fill(b"next"))
    await sys.store(WINDOW, fill(b"late"))


async def reader(sys, _):
    await sys.wait_for(await sys.submit_direct_read(SLOW, WINDOW, fill(b"late")))


async def writer(sys, _):
    await sys.pwrite(3, fill(b"late"))


async def chattr(sys, _):
    return await sys.chattr(3, FS_IMMUTABLE_FL)


async def nothing(*_args, **_kwargs):
    return None


# ---- mistakes


async def want_write_that_looks_first(sb):
    if await sb.s_readonly_remount.load() or await sb.s_readonly.load():
        return -EROFS
    await sb.mnt_writers.inc()
    return 0


async def prepare_without_hold(sb):
    if await sb.mnt_writers.load() > 0:
        return -EBUSY
    await sb.s_readonly_remount.store(True)
    return 0


async def on_without_a_reference(self, fd, call, *arguments):
    file = await self._file(fd)
    return -EBADF if file is None else await call(self.k, file, *arguments)


async def fput_that_keeps_the_mount(_k, file):
    await file.f_count.dec_and_test()


async def clean_after_clearing(k, inode, page, _index):
    return await clear_page_flag(page, PG_DIRTY)


async def mkclean_nothing(_k, _mapping, _page, _index):
    return False


async def write_without_asking_under_the_lock(k, inode, _position, data):
    if await inode.i_flags.load() & FS_IMMUTABLE_FL:
        return -1
    async with inode.i_mutex:
        page = await read_cache_page(k, inode, 0)
        await page.word(0).store(data)
        await set_page_dirty(page)
        await inode.i_size.store(len(data))
        await page.lock.release()
        await put_page(k, page)
    return len(data)


MUTANTS = [
    Mutant(
        "an open looks whether the mount is read-only before it counts itself",
        mounted(TMP, opening(TMP), closer, remounting(TMP)),
        REMOUNTED,
        (("kernel.write_access", "mnt_want_write", want_write_that_looks_first),),
    ),
    Mutant(
        "a write does not hold its file",
        mounted(TMP, writer, closer, remounting(TMP)),
        REMOUNTED,
        (("kernel.entry", "SimSyscalls._on", on_without_a_reference),),
    ),
    Mutant(
        "the last close keeps the mount's writer",
        mounted(TMP, closer),
        WRITERS,
        (("kernel.entry.descriptors", "fput", fput_that_keeps_the_mount),),
    ),
    Mutant(
        "munmap keeps the file",
        mounted(TMP, store_and_unmap, mapped=True),
        FILES,
        (("kernel.mmap", "fput", nothing),),
    ),
    Mutant(
        "a mapping takes no reference to its file",
        mounted(TMP, map_and_close),
        FILES,
        (("kernel.mmap", "get_file", nothing),),
    ),
    Mutant(
        "a remount writes nothing back",
        mounted(DISK, write_and_close, remounting(DISK)),
        REMOUNTED,
        (("kernel.namespace", "sync_inodes_sb", nothing),),
    ),
    Mutant(
        "the flusher forgets a page after it has cleaned it",
        mounted(DISK, write_and_close),
        TAGGED,
        (
            Edit(
                "kernel.page_writeback.wb_workfn",
                {
                    "await sb.b_dirty.update(untagged, inode, index)": "done = await write_cache_page(k, inode, index)",
                    "if not await write_cache_page(k, inode, index):": (
                        "await sb.b_dirty.update(untagged, inode, index)\n            if not done:"
                    ),
                },
            ),
        ),
    ),
    Mutant(
        "writeback leaves the page tables as they are",
        mounted(DISK, storer, mapped=True),
        CLEAN,
        (("kernel.page_writeback", "page_mkclean", mkclean_nothing),),
    ),
    Mutant(
        "writeback does not flush what CPUs remember",
        mounted(DISK, storer, mapped=True),
        CLEAN,
        (("kernel.rmap", "flush_tlb", nothing),),
    ),
    Mutant(
        "a completed read leaves its page clean",
        mounted(DISK, reader, mapped=True, devices=(SLOW,)),
        CLEAN,
        (("kernel.direct_io", "set_page_dirty", nothing),),
    ),
    Mutant(
        "a store waits for no stable page",
        mounted(PICKY, storer, mapped=True),
        STABLE,
        (("kernel.ext4", "wait_for_stable_page", nothing),),
    ),
    Mutant(
        "a write looks at the flag before it locks",
        mounted(DISK, writer, chattr),
        IMMUTABLE,
        (("kernel.read_write", "ext4_perform_write", write_without_asking_under_the_lock),),
        release="v6.18",
    ),
]


@each(MUTANTS)
def test_the_mistake_is_found(mutant, monkeypatch):
    mutant.try_on(monkeypatch)


# ---- the idea can be kept: a design that is asked about every promise


@pytest.mark.parametrize("base", [wait_for_pins, delayed_unmap], ids=lambda base: base.name)
@pytest.mark.parametrize(
    "name",
    [
        "remount_with_a_pin_left",
        "remount_reaches_the_disk",
        "remount_and_back",
        "immutable_with_a_pin_left",
        "immutable_with_a_pin_left_on_ext4",
        "store_races_chattr",
        "open_races_remount",
        "write_races_remount",
        "store_races_remount",
    ],
)
def test_a_design_that_guards_every_promise_keeps_it(name, base):
    scenario = find(name).scenario
    design = attrs.evolve(base, name="guards_all", guards=EVERYTHING)
    test = Test(name, scenario, design, release_named(scenario.release))
    verdict = check(test, bounds=Bounds(max_seconds=60))
    assert isinstance(verdict, Holds), verdict
