"""Mistakes in the locks of migration, and in the order in which a walk meets the mappings, that the checker must find."""

from __future__ import annotations

import attrs

from mmsim import catalogue
from mmsim.check.books import AGREE, CLEAN, LEAK
from mmsim.check.promises import SEALED
from mmsim.kernel.migrate import (
    CACHE_AND_ISOLATION,
    isolate_and_migrate,
    migrate_page_copy,
    places,
    remove_migration_ptes,
    replace_page_in_cache,
    try_to_unmap,
)
from mmsim.kernel.page_alloc import alloc_page, get_page, put_page
from mmsim.kernel.page_ref import page_ref_freeze, page_ref_unfreeze
from mmsim.kernel.strategy import counted
from mmsim.kernel.tlb import flush_tlb
from mmsim.strategies.delayed_unmap_zap import delayed_unmap_zap
from mmsim.syscalls import (
    EAGAIN,
    EBUSY,
    EFAULT,
    ENOENT,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    MAP_SHARED,
    O_CREAT,
    O_RDWR,
    PAGE_SIZE,
    Mount,
)
from tests.mutants import scenes
from tests.mutants.judged import Mutant, each
from tests.mutants.scenes import FD, LATE, NEXT, ORIG, RW, WINDOW, scene

BUG = "no kernel bug"
DISK = Mount("disk", "ext4")

# ---- scenes


async def dirty(sys):
    """A file on a disk, written and mapped."""
    await sys.open(DISK, "f", O_RDWR | O_CREAT)
    await sys.pwrite(FD, ORIG)
    await sys.mmap(FD, RW, MAP_SHARED)
    await sys.store(WINDOW, NEXT)


async def mover(sys, _):
    return await sys.move_pages(WINDOW)


async def compacter(sys, _):
    return await sys.compact_memory()


async def puncher(sys, _):
    return await sys.fallocate(FD, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE_SIZE)


async def loader(sys, _):
    return await sys.load(WINDOW, 4)


async def a_child(_sys, _):
    """Comes before `main` by its name, and leaves what it inherits alone."""


async def forker(sys, _):
    await sys.fork(a_child)


async def a_storing_child(sys, _):
    await sys.store(WINDOW, LATE)


async def forks_one_that_stores(sys, _):
    await sys.fork(a_storing_child)


async def compacts_and_stores(sys, _):
    await sys.compact_memory()
    await sys.store(WINDOW, LATE)


def there_is_a_page_or_no_mapping(mover):
    return mover in {0, -EBUSY, -EFAULT}


FORKED = attrs.evolve(scene(scenes.touched, forker, compacter), children=(a_child,))
FORKED_AND_DIRTY = attrs.evolve(scene(dirty, forks_one_that_stores), children=(a_storing_child,), mounts=(DISK,))

# ---- mistakes


def places_by_name(vmas, index):
    mapped = places(vmas, index)
    return tuple(sorted(mapped, key=lambda place: place[0].name))


async def remap_without_mutex(mapping, index, old, new):
    for mm, _, address in places(await mapping.i_mmap.load(), index):
        async with mm.page_table_lock:
            pte = await mm.pte(address).load()
            if pte is not None and pte.page is old and pte.migrating:
                await get_page(new)
                await new.mapcount.inc()
                await mm.pte(address).store(attrs.evolve(pte, page=new, migrating=False))


async def unmap_without_mutex(k, mapping, index, page):
    for mm, vma, address in places(await mapping.i_mmap.load(), index):
        async with mm.page_table_lock:
            pte = await mm.pte(address).load()
            mapped = pte is not None and pte.page is page and not pte.migrating
            if mapped:
                await mm.pte(address).store(attrs.evolve(pte, migrating=True))
                await flush_tlb(k, mm, (address,))
                await page.mapcount.dec()
        if mapped:
            if counted(k, vma.flags):
                await k.strategy.after_zap_writable(k, mm, vma, (page,))
            await put_page(k, page)


async def migrate_to_an_unlocked_page(k, page):
    error = -EAGAIN
    async with page.lock:
        mapping, index = await page.mapping.load(), await page.index.load()
        if mapping is None:
            return error
        await try_to_unmap(k, mapping, index, page)
        new = page
        if await page_ref_freeze(page, CACHE_AND_ISOLATION):
            new = await alloc_page(k)
            await migrate_page_copy(k, page, new)
            await replace_page_in_cache(mapping, index, page, new)
            await page_ref_unfreeze(page, CACHE_AND_ISOLATION - 1)
            error = 0
        await remove_migration_ptes(mapping, index, page, new)
    if not error:
        await put_page(k, new)
    return error


async def move_without_mmap_lock(k, address):
    mm = k.mm
    if not any(vma.start <= address < vma.end for vma in await mm.mmap.load()):
        return -EFAULT
    async with mm.page_table_lock:
        pte = await mm.pte(address).load()
        if pte is None or pte.migrating:
            return -ENOENT
        await get_page(pte.page)
    return -EBUSY if await isolate_and_migrate(k, pte.page) else 0


async def move_without_page_table_lock(k, address):
    mm = k.mm
    async with mm.mmap_lock.read():
        if not any(vma.start <= address < vma.end for vma in await mm.mmap.load()):
            return -EFAULT
        pte = await mm.pte(address).load()
        if pte is None or pte.migrating:
            return -ENOENT
        await get_page(pte.page)
    return -EBUSY if await isolate_and_migrate(k, pte.page) else 0


MOVE = "kernel.entry.page_scan"
MUTANTS = [
    Mutant(
        "migration passes the child before fork() has copied the entry",
        FORKED,
        LEAK,
        (("kernel.migrate", "places", places_by_name),),
    ),
    Mutant(
        "writeback passes the child before fork() has copied the entry",
        FORKED_AND_DIRTY,
        CLEAN,
        (("kernel.rmap", "place_in_tree", scenes.by_name),),
    ),
    Mutant(
        "a child is linked while migration puts the pages back",
        FORKED,
        LEAK,
        (("kernel.migrate", "remove_migration_ptes", remap_without_mutex),),
    ),
    Mutant(
        "a mapping goes while migration settles with its design",
        catalogue.find("migration_races_munmap").scenario,
        SEALED,
        (("kernel.migrate", "try_to_unmap", unmap_without_mutex),),
        strategy=delayed_unmap_zap,
    ),
    Mutant(
        "a hole is punched while the page that was moved is not mapped yet",
        scene(scenes.touched, puncher, loader, compacter),
        AGREE,
        (("kernel.migrate", "migrate_page", migrate_to_an_unlocked_page),),
    ),
    Mutant(
        "the flusher cleans the page that was moved before it is mapped",
        attrs.evolve(scene(dirty, compacts_and_stores), mounts=(DISK,)),
        CLEAN,
        (("kernel.migrate", "migrate_page", migrate_to_an_unlocked_page),),
    ),
    Mutant(
        "move_pages() looks for the page when the mapping is gone",
        scene(scenes.touched, scenes.unmapper, mover, always=(there_is_a_page_or_no_mapping,)),
        "there_is_a_page_or_no_mapping",
        ((MOVE, "move_pages", move_without_mmap_lock),),
    ),
    Mutant(
        "move_pages() refers to a page that was freed",
        scene(scenes.touched, scenes.truncater, mover),
        BUG,
        ((MOVE, "move_pages", move_without_page_table_lock),),
    ),
]


@each(MUTANTS)
def test_the_mistake_is_found(mutant, monkeypatch):
    mutant.try_on(monkeypatch)
