"""Mistakes in looking pages up and in giving a file other pages, each of which the checker must find."""

from __future__ import annotations

from signal import SIGBUS

import attrs

from mmsim.check.books import CLEAN, LEAK
from mmsim.check.properties import LOST
from mmsim.kernel.filemap import find_get_page, find_or_create_page
from mmsim.kernel.gup import FOLL_WRITE, can_follow_pte, try_grab_page
from mmsim.kernel.memory import handle_mm_fault
from mmsim.kernel.mmap import linked
from mmsim.kernel.page_alloc import alloc_page, get_page
from mmsim.kernel.strategy import counted
from mmsim.kernel.swap import lru_cache_add
from mmsim.kernel.truncate import truncate_range, unmap_mapping_page
from mmsim.kernel.types import PG_UPTODATE, Pin
from mmsim.scenario import Scenario
from mmsim.strategies.copy_on_seal import copy_on_seal
from mmsim.syscalls import (
    FS_IMMUTABLE_FL,
    MAP_PRIVATE,
    MAP_SHARED,
    O_CREAT,
    O_RDWR,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Mount,
    fill,
)
from tests.mutants import scenes
from tests.mutants.judged import Mutant, each

DISK = Mount("disk", "ext4")
FD, WINDOW, RW = 3, 0x10000, PROT_READ | PROT_WRITE
DEADLOCK = "no deadlock"


# ---- scenes on a file of one page


async def uncached(sys):
    """The page is not in the cache."""
    fd = await sys.open(DISK, "f", O_RDWR | O_CREAT)
    await sys.ftruncate(fd, PAGE_SIZE)
    await sys.mmap(fd, PROT_READ, MAP_SHARED)


async def unmapped(sys):
    """Nobody maps it."""
    await sys.open(DISK, "f", O_RDWR | O_CREAT)


async def mapped_but_not_touched(sys):
    """Of a memfd, for a device to read into."""
    await scenes.file(sys)
    await sys.mmap(FD, RW, MAP_SHARED)


async def mapped_privately(sys):
    """A memfd's page, that no page table has."""
    await scenes.file(sys)
    await sys.mmap(FD, RW, MAP_PRIVATE)


async def mapped_and_dirty(sys):
    """A page table has it, writable."""
    await unmapped(sys)
    await sys.pwrite(FD, fill(b"orig"))
    await sys.mmap(FD, RW, MAP_SHARED)
    await sys.store(WINDOW, fill(b"next"))


async def cached(sys):
    """It is, and no page table has it."""
    await uncached(sys)
    await sys.pwrite(FD, fill(b"orig"))
    await sys.sync()


async def loader(sys, _):
    await sys.load(WINDOW, 4)


async def file_reader(sys, _):
    await sys.pread(FD, 4)


async def other_file_reader(sys, _):
    await sys.pread(FD, 4)


async def compacter(sys, _):
    await sys.compact_memory()


async def forker(sys, _):
    await sys.fork(scenes.storing_child)


async def truncater(sys, _):
    await sys.ftruncate(FD, 0)


async def writes_and_promises(sys, _):
    """The flusher may be at it when the promise is made; sync() waits for what it has not ended."""
    await sys.pwrite(FD, fill(b"late"))
    await sys.chattr(FD, FS_IMMUTABLE_FL)
    await sys.sync()


async def dirty(sys):
    """It is, and the flusher has yet to write it."""
    await unmapped(sys)
    await sys.pwrite(FD, fill(b"orig"))


async def cuts_off_and_grows(sys, _):
    await sys.ftruncate(FD, 0)
    await sys.ftruncate(FD, PAGE_SIZE)
    return await sys.pread(FD, 4)


async def cuts_off_and_loads(sys, _):
    await sys.ftruncate(FD, 0)
    return await sys.load(WINDOW, 4)


def what_was_cut_off_does_not_come_back(cuts_off_and_grows):
    return cuts_off_and_grows == bytes(4)


def no_private_copy_outlives_the_truncation(cuts_off_and_loads):
    return cuts_off_and_loads == SIGBUS


def scene(setup, *threads, **more):
    children = (scenes.storing_child,) if forker in threads else ()
    return Scenario(setup=setup, threads=threads, children=children, mounts=(DISK,), **more)


# ---- mistakes


async def nothing(*_args, **_kwargs):
    return None


async def find_lock_page_that_keeps_a_stale_page(k, mapping, index):
    while True:
        page = await find_get_page(k, mapping, index)
        if page is None:
            return None
        await page.lock.acquire()
        if await page.mapping.load() is mapping:
            return page
        await page.lock.release()


async def create_page_that_keeps_the_loser(k, mapping, index):
    while True:
        page = await find_get_page(k, mapping, index)
        if page is not None:
            await page.lock.acquire()
            return page
        page = await alloc_page(k)
        await page.mapping.store(mapping)
        await page.index.store(index)
        await get_page(page)
        await page.lock.acquire()
        if await mapping.slot(index).cmpxchg(None, page):
            await lru_cache_add(k, page)
            return page
        await page.lock.release()


async def fault_that_leaves_a_page_beyond_the_end_locked(k, inode, index):
    if index * PAGE_SIZE >= await inode.i_size.load():
        return None
    page = await find_or_create_page(k, inode.mapping, index)
    return page if index * PAGE_SIZE < await inode.i_size.load() else None


async def get_page_that_keeps_one_not_up_to_date(k, inode, index):
    page = await find_get_page(k, inode.mapping, index)
    if page is not None and PG_UPTODATE in await page.flags.load():
        return page
    page = await find_or_create_page(k, inode.mapping, index)
    await page.flags.test_and_set(PG_UPTODATE)
    await page.lock.release()
    return page


async def get_user_page_without_page_table_lock(k, mm, vma, address, caller, flags):
    write = bool(flags & FOLL_WRITE)
    while True:
        pte = await mm.pte(address).load()
        if pte is not None and await can_follow_pte(k, vma, pte, flags):
            pin = Pin(pte.page, write, caller)
            if await try_grab_page(k, pin):
                return pin
        fault = await handle_mm_fault(k, mm, vma, address, write=write)
        if fault:
            return fault


async def link_without_mutex(k, mm, vma):
    mapping = vma.file.inode.mapping
    await mapping.i_mmap.update(linked, mm, vma)
    if counted(k, vma.flags):
        await mapping.i_mmap_writable.inc()


async def truncate_that_unmaps_private_copies_once(k, mapping, start, end, **_):
    for index in range(-(-start // PAGE_SIZE), end // PAGE_SIZE):
        await unmap_mapping_page(k, mapping, index, even_cows=True)
    await truncate_range(k, mapping, start, end)


MUTANTS = [
    Mutant(
        "truncation does not wait for the disk",
        scene(dirty, cuts_off_and_grows, always=(what_was_cut_off_does_not_come_back,)),
        "what_was_cut_off_does_not_come_back",
        (("kernel.truncate", "wait_on_page_writeback", nothing),),
    ),
    Mutant(
        "truncation unmaps private copies once, before the pages are gone",
        scenes.scene(
            mapped_privately, scenes.writer, cuts_off_and_loads, always=(no_private_copy_outlives_the_truncation,)
        ),
        "no_private_copy_outlives_the_truncation",
        (("kernel.shmem", "truncate_range", truncate_that_unmaps_private_copies_once),),
    ),
    Mutant(
        "fork() links a mapping while writeback goes through them",
        scene(mapped_and_dirty, forker),
        CLEAN,
        (("kernel.fork", "vma_link_file", link_without_mutex),),
    ),
    Mutant(
        "get_user_pages() takes a page that was migrated since it looked",
        scenes.scene(mapped_but_not_touched, scenes.reader, compacter),
        LOST,
        (("kernel.gup", "get_user_page", get_user_page_without_page_table_lock),),
    ),
    Mutant(
        "a lookup keeps a page that was truncated before it was locked",
        scene(cached, loader, truncater),
        LEAK,
        (("kernel.filemap", "find_lock_page", find_lock_page_that_keeps_a_stale_page),),
    ),
    Mutant(
        "who comes second keeps the page that he made",
        scene(uncached, loader, file_reader),
        LEAK,
        (("kernel.filemap", "find_or_create_page", create_page_that_keeps_the_loser),),
    ),
    Mutant(
        "a fault leaves a page beyond the end locked",
        scene(uncached, loader, truncater),
        "no lock is held at the end",
        (("kernel.memory", "filemap_fault", fault_that_leaves_a_page_beyond_the_end_locked),),
    ),
    Mutant(
        "a reader keeps the page that another is about to fill",
        scene(uncached, file_reader, other_file_reader),
        LEAK,
        (("kernel.filemap", "filemap_get_page", get_page_that_keeps_one_not_up_to_date),),
    ),
    Mutant(
        "a page is replaced while the disk reads it",
        scene(unmapped, writes_and_promises),
        DEADLOCK,
        (("strategies.replacing", "wait_on_page_writeback", nothing),),
        strategy=attrs.evolve(copy_on_seal, name="copy"),
    ),
]


@each(MUTANTS)
def test_the_mistake_is_found(mutant, monkeypatch):
    mutant.try_on(monkeypatch)
