"""Mistakes in what else holds pages, each of which the checker must find."""

from __future__ import annotations

import attrs

from mmsim.check.books import AGREE, LEAK
from mmsim.check.promises import SEALED
from mmsim.check.properties import LOST, MOVED
from mmsim.kernel.gup import unpin_pages
from mmsim.kernel.io_uring import user_bufs, without_buffer
from mmsim.kernel.migrate import places, try_to_unmap
from mmsim.kernel.page_alloc import delete_from_page_cache, get_page, put_page
from mmsim.kernel.swap import lru_cache
from mmsim.kernel.truncate import unmap_mapping_page
from mmsim.kernel.types import PG_DIRTY
from mmsim.syscalls import ENXIO, PAGE_SIZE
from tests.mutants import scenes
from tests.mutants.judged import Mutant, each
from tests.mutants.scenes import DISK, FD, LATE, ORIG, WINDOW, scene

BUG = "no kernel bug"

# ---- scenes


async def registered(sys):
    await scenes.mapped(sys)
    buffer = await sys.register_buffer(WINDOW)
    await sys.munmap(WINDOW)
    return buffer


async def mover(sys, _):
    return await sys.move_pages(WINDOW)


async def compacter(sys, _):
    return await sys.compact_memory()


async def scanner(sys, _):
    return await sys.scan_pages()


async def fixed_reader(sys, buffer):
    await sys.submit_read_fixed(DISK, buffer, LATE)
    return await sys.unregister_buffer(buffer)


async def unregisterer(sys, buffer):
    return await sys.unregister_buffer(buffer)


async def appender(sys, _):
    return await sys.pwrite(FD, ORIG)


async def writes_then_loads(sys, _):
    await sys.store(WINDOW, LATE)
    return await sys.load(WINDOW)


def a_cache_refuses_nobody(sealer):
    return sealer == 0


def a_store_is_kept(writes_then_loads):
    return writes_then_loads == LATE


def with_disk(setup, *threads, **more):
    return attrs.evolve(scene(setup, *threads, **more), devices=(DISK,))


# ---- migration


async def freeze_whatever_the_count(page, _expected):
    await page.refcount.store(0)
    return True


async def freeze_in_two_steps(page, expected):
    if await page.refcount.load() != expected:
        return False
    await page.refcount.store(0)
    return True


async def unmap_without_flush(k, mapping, index, page):
    async with mapping.i_mmap_mutex:
        for mm, _, address in places(await mapping.i_mmap.load(), index):
            slot = mm.pte(address)
            async with mm.page_table_lock:
                pte = await slot.load()
                mapped = pte is not None and pte.page is page and not pte.migrating
                if mapped:
                    await slot.exchange(attrs.evolve(pte, migrating=True))
                    await page.mapcount.dec()
            if mapped:
                await put_page(k, page)


async def unmap_and_keep_the_reference(k, mapping, index, page):
    await try_to_unmap(k, mapping, index, page)
    await get_page(page)


async def remap_the_old_page(mapping, index, old, _new):
    async with mapping.i_mmap_mutex:
        for mm, _, address in places(await mapping.i_mmap.load(), index):
            async with mm.page_table_lock:
                pte = await mm.pte(address).load()
                if pte is not None and pte.migrating:
                    await get_page(old)
                    await old.mapcount.inc()
                    await mm.pte(address).store(attrs.evolve(pte, migrating=False))


async def copy_nothing(_k, _old, _new):
    return None


async def replace_without_reference(mapping, index, old, new):
    await new.mapping.store(mapping)
    await new.index.store(index)
    await mapping.slot(index).store(new)
    await old.mapping.store(None)


def migration_entries_are_present(pte, *, write):
    return pte.write or not write


async def zap_that_takes_an_entry_for_a_page(mm, address):
    old = await mm.pte(address).exchange(None)
    if old is not None:
        if old.dirty and not old.anon:
            await old.page.flags.test_and_set(PG_DIRTY)
        await old.page.mapcount.dec()
    return old


async def truncate_that_looks_once(k, mapping, start, end, **_):
    for index in range(-(-start // PAGE_SIZE), end // PAGE_SIZE):
        await unmap_mapping_page(k, mapping, index)
        page = await mapping.slot(index).load()
        if page is None:
            continue
        async with page.lock:
            attached = await page.mapping.load() is mapping
            if attached:
                await delete_from_page_cache(page, mapping, index)
        if attached:
            await put_page(k, page)


MIGRATION = [
    Mutant(
        "a pinned page is migrated",
        with_disk(scenes.touched, scenes.submitter, mover),
        BUG,
        (("kernel.migrate", "page_ref_freeze", freeze_whatever_the_count),),
    ),
    Mutant(
        "the count is compared first and frozen later",
        scene(scenes.file, scenes.file_reader, compacter),
        BUG,
        (("kernel.migrate", "page_ref_freeze", freeze_in_two_steps),),
    ),
    Mutant(
        "TLBs still reach the page that is copied",
        scene(scenes.touched, writes_then_loads, mover, always=(a_store_is_kept,)),
        MOVED,
        (("kernel.migrate", "try_to_unmap", unmap_without_flush),),
    ),
    Mutant(
        "a migration entry keeps its reference",
        scene(scenes.touched, mover),
        LEAK,
        (("kernel.migrate", "try_to_unmap", unmap_and_keep_the_reference),),
    ),
    Mutant(
        "the old page is mapped again",
        scene(scenes.touched, mover),
        AGREE,
        (("kernel.migrate", "remove_migration_ptes", remap_the_old_page),),
    ),
    Mutant(
        "nothing is copied",
        scene(scenes.file, scenes.sealer, compacter),
        MOVED,
        (("kernel.migrate", "migrate_page_copy", copy_nothing),),
    ),
    Mutant(
        "the cache has no reference to the new page",
        scene(scenes.file, compacter),
        LEAK,
        (("kernel.migrate", "replace_page_in_cache", replace_without_reference),),
    ),
    Mutant(
        "a migration entry is used as if it were present",
        with_disk(scenes.touched, scenes.submitter, mover),
        LOST,
        (("kernel.types", "Pte.allows", migration_entries_are_present),),
    ),
    Mutant(
        "munmap drops the reference of a migration entry",
        scene(scenes.touched, scenes.unmapper, mover),
        BUG,
        (("kernel.memory_zap", "zap_page", zap_that_takes_an_entry_for_a_page),),
    ),
    Mutant(
        "truncation does not see that a page was replaced",
        scene(scenes.file, scenes.truncater, compacter),
        LEAK,
        (("kernel.shmem", "truncate_range", truncate_that_looks_once),),
    ),
]

# ---- LRU caches, scanners


async def nothing(*_args, **_kwargs):
    return None


async def drain_without_put(k, cpu):
    await lru_cache(k, cpu).pages.exchange(())


async def drain_in_two_steps(k, cpu):
    pages = await lru_cache(k, cpu).pages.load()
    await lru_cache(k, cpu).pages.store(())
    for page in pages:
        await put_page(k, page)


async def add_without_reference(k, page):
    await lru_cache(k, k.cpu).pages.update(with_page, page)


def with_page(pages, page):
    return (*pages, page)


async def scan_without_asking(k, inodes):
    for inode in inodes:
        page = await inode.mapping.slot(0).load()
        if page is not None:
            await page.refcount.inc_not_zero()
            await put_page(k, page)


HOLDERS = [
    Mutant(
        "no scan empties the other CPUs' caches",
        scene(scenes.empty, appender, scenes.sealer, always=(a_cache_refuses_nobody,)),
        "a_cache_refuses_nobody",
        (("kernel.memfd", "lru_add_drain_all", nothing),),
    ),
    Mutant(
        "a cache is emptied and its references are kept",
        scene(scenes.empty, appender, scenes.sealer),
        LEAK,
        (("kernel.swap", "_drain_cpu", drain_without_put),),
    ),
    Mutant(
        "a cache is emptied in two steps",
        scene(scenes.empty, appender, compacter),
        LEAK,
        (("kernel.swap", "_drain_cpu", drain_in_two_steps),),
    ),
    Mutant(
        "a cache has no reference of its own",
        scene(scenes.empty, appender),
        LEAK,
        (("kernel.swap", "_pagevec_add", add_without_reference),),
    ),
    Mutant(
        "a scanner puts what it did not get",
        scene(scenes.file, scanner, scenes.truncater),
        BUG,
        (("kernel.entry.page_scan", "page_idle_bitmap_read", scan_without_asking),),
    ),
]

# ---- registered buffers


async def unregister_and_unpin(k, buffer):
    if not await user_bufs(k.process).fetch_update(without_buffer, buffer):
        return -ENXIO
    await unpin_pages(k, await buffer.pins.exchange(()))
    return 0


async def unregister_what_is_looked_up_first(k, buffer):
    if buffer not in await user_bufs(k.process).load():
        return -ENXIO
    await user_bufs(k.process).fetch_update(without_buffer, buffer)
    if await buffer.refs.dec_and_test():
        await unpin_pages(k, await buffer.pins.exchange(()))
    return 0


async def node_without_reference(k, buffer, _length):
    if buffer not in await user_bufs(k.process).load():
        return -14
    return await buffer.pins.load()


async def put_the_node_but_no_page(_k, buffer):
    if await buffer.refs.dec_and_test():
        await buffer.pins.exchange(())


BUFFERS = [
    Mutant(
        "a buffer is unpinned with a request under way",
        with_disk(registered, fixed_reader, scenes.sealer),
        SEALED,
        (("kernel.entry.uring", "io_unregister_buffer", unregister_and_unpin),),
        release="v5.10",
    ),
    Mutant(
        "a buffer is unregistered twice",
        with_disk(registered, unregisterer, fixed_reader),
        BUG,
        (("kernel.entry.uring", "io_unregister_buffer", unregister_what_is_looked_up_first),),
        release="v6.13",
    ),
    Mutant(
        "a request keeps no node",
        with_disk(registered, fixed_reader),
        BUG,
        (("kernel.direct_io", "get_rsrc_node", node_without_reference),),
        release="v6.13",
    ),
    Mutant(
        "the pages of a node that is gone are kept",
        with_disk(registered, fixed_reader),
        LEAK,
        (("kernel.io_uring", "io_put_rsrc_node", put_the_node_but_no_page),),
        release="v5.10",
    ),
]


@each([*MIGRATION, *HOLDERS, *BUFFERS])
def test_a_mistake_is_found(mutant, monkeypatch):
    mutant.try_on(monkeypatch)
