"""Mistakes in pinning, unmapping, faults, the page cache and fork, each of which the checker must find."""

from __future__ import annotations

import attrs

from mmsim.check.books import AGREE, COUNT, LEAK
from mmsim.check.promises import SEALED
from mmsim.check.properties import SIZE
from mmsim.kernel.filemap import find_get_page
from mmsim.kernel.memory_zap import zap_page, zap_pte_range
from mmsim.kernel.mmap import linked, unlink_file_vma
from mmsim.kernel.page_alloc import alloc_page, get_page, put_page
from mmsim.kernel.shmem import generic_perform_write, shmem_getpage, write_page
from mmsim.kernel.tlb import flush_tlb
from mmsim.kernel.types import Pin
from mmsim.strategies.delayed_unmap import delayed_unmap
from mmsim.strategies.sealing_v2 import sealing_v2
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.syscalls import EPERM, F_SEAL_GROW, F_SEAL_SHRINK, F_SEAL_WRITE, PAGE_SIZE
from tests.mutants import scenes
from tests.mutants.judged import Mutant, each
from tests.mutants.scenes import scene

BUG = "no kernel bug"


async def nothing(*_args, **_kwargs):
    return None


# ---- gup


async def gup_without_second_look(k, mm, address, caller, *, write):
    pte = await mm.pte(address).load()
    if pte is None or not pte.allows(write=write):
        return None
    pin = Pin(pte.page, write, caller, fast=True)
    return pin if await k.strategy.pin(k, pin) else None


async def gup_into_read_only(k, mm, address, caller, *, write):
    pte = await mm.pte(address).load()
    if pte is None:
        return None
    pin = Pin(pte.page, write, caller, fast=True)
    return pin if await k.strategy.pin(k, pin) else None


async def gup_taking_free_pages(_k, pin):
    await pin.page.refcount.add(1)
    return True


# ---- unmapping


async def unlink_before_zap(k, mm, vmas):
    for vma in vmas:
        await unlink_file_vma(k, mm, vma)
    for vma in vmas:
        pages, stale = await zap_pte_range(k, mm, vma)
        await flush_tlb(k, mm, stale)
        for page in pages:
            await put_page(k, page)


async def zap_without_flush(k, mm, vma):
    pages, stale = [], []
    async with mm.page_table_lock:
        for address in vma.pages():
            old = await zap_page(mm, address)
            if old is not None:
                pages.append(old.page)
                stale.append(address)
    return tuple(pages), tuple(stale)


async def put_before_flush(k, mm, vmas):
    for vma in vmas:
        pages, stale = await zap_pte_range(k, mm, vma)
        await unlink_file_vma(k, mm, vma)
        for page in pages:
            await put_page(k, page)
        await flush_tlb(k, mm, stale)


async def unlink_without_counting(k, mm, vma):
    async with vma.file.inode.mapping.i_mmap_mutex:
        await vma.file.inode.mapping.i_mmap.update(without, mm, vma)


def without(tree, mm, vma):
    return tree - {(mm, vma)}


async def zap_without_map_count(mm, address):
    return await mm.pte(address).exchange(None)


# ---- page cache, faults


async def getpage_second_reference_late(k, inode, index):
    mapping = inode.mapping
    while True:
        page = await find_get_page(k, mapping, index)
        if page is not None:
            return page, False
        page = await alloc_page(k)
        await page.mapping.store(mapping)
        await page.index.store(index)
        if await mapping.slot(index).cmpxchg(None, page):
            await get_page(page)
            return page, True
        await put_page(k, page)


async def fault_without_mapping_check(k, inode, index):
    if index * PAGE_SIZE >= await inode.i_size.load():
        return None
    page, _ = await shmem_getpage(k, inode, index)
    await page.lock.acquire()
    return page


async def fault_that_never_looks_at_the_size_again(k, inode, index):
    while True:
        if index * PAGE_SIZE >= await inode.i_size.load():
            return None
        page, _ = await shmem_getpage(k, inode, index)
        await page.lock.acquire()
        if await page.mapping.load() is inode.mapping:
            return page
        await page.lock.release()
        await put_page(k, page)


async def find_page_that_may_be_free(k, mapping, index):
    page = await mapping.slot(index).load()
    if page is not None:
        await get_page(page)
    return page


async def set_pte_without_looking(k, mm, address, pte):
    async with mm.page_table_lock:
        await pte.page.mapcount.inc()
        await mm.pte(address).store(pte)


async def wp_page_without_copy(k, mm, vma, address, pte, **_):
    await mm.pte(address).store(attrs.evolve(pte, write=True, dirty=True))
    return 0


async def write_that_asks_before_it_locks(k, inode, position, data):
    if await inode.seals.load() & F_SEAL_WRITE:
        return -EPERM
    async with inode.i_mutex:
        page, _ = await shmem_getpage(k, inode, position // PAGE_SIZE)
        await write_page(k, page, position % PAGE_SIZE, data)
        if position + len(data) > await inode.i_size.load():
            await inode.i_size.store(position + len(data))
        await put_page(k, page)
    return len(data)


async def resize_that_asks_before_it_locks(k, inode, size):
    old, seals = await inode.i_size.load(), await inode.seals.load()
    if (size < old and seals & F_SEAL_SHRINK) or (size > old and seals & F_SEAL_GROW):
        return -EPERM
    async with inode.i_mutex:
        await inode.i_size.store(size)
    return 0


async def write_without_f_pos_lock(self, fd, data):
    file = await self._file(fd)
    position = await file.f_pos.load()
    written = await generic_perform_write(self.k, file.inode, position, data)
    await file.f_pos.store(position + written)
    return written


# ---- fork


async def link_without_counting(k, mm, vma):
    async with vma.file.inode.mapping.i_mmap_mutex:
        await vma.file.inode.mapping.i_mmap.update(linked, mm, vma)


MUTANTS = [
    Mutant(
        "gup_fast looks at the pte once, wait_for_pins",
        scene(scenes.touched, scenes.submitter, scenes.unmapper, scenes.sealer),
        SEALED,
        (("kernel.gup", "gup_fast_pte", gup_without_second_look),),
    ),
    Mutant(
        "gup_fast looks at the pte once, delayed_unmap",
        scene(scenes.touched, scenes.submitter, scenes.unmapper, scenes.sealer),
        SEALED,
        (("kernel.gup", "gup_fast_pte", gup_without_second_look),),
        strategy=delayed_unmap,
    ),
    Mutant(
        "gup_fast gives a device a page mapped read-only",
        scene(scenes.private, scenes.submitter, scenes.sealer),
        SEALED,
        (("kernel.gup", "gup_fast_pte", gup_into_read_only),),
        strategy=sealing_v2,
    ),
    Mutant(
        "gup takes a page that is already free",
        scene(scenes.private_copy, scenes.submitter, scenes.unmapper),
        BUG,
        mutated=attrs.evolve(wait_for_pins, pin=gup_taking_free_pages),
    ),
    Mutant(
        "munmap drops the counter before it clears the page table",
        scene(scenes.touched, scenes.writer, scenes.unmapper, scenes.sealer),
        SEALED,
        (("kernel.mmap", "unmap_region", unlink_before_zap),),
    ),
    Mutant(
        "munmap drops the counter before it flushes a dirty entry",
        scene(scenes.touched, scenes.writer_twice, scenes.unmapper, scenes.sealer),
        SEALED,
        (("kernel.mmap", "zap_pte_range", zap_without_flush),),
        strategy=sealing_v2,
    ),
    Mutant(
        "munmap drops the references before it flushes",
        scene(scenes.private_copy, scenes.loader, scenes.unmapper),
        BUG,
        (("kernel.mmap", "unmap_region", put_before_flush),),
    ),
    Mutant(
        "munmap never lowers the counter",
        scene(scenes.mapped, scenes.unmapper),
        COUNT,
        (("kernel.mmap", "unlink_file_vma", unlink_without_counting),),
    ),
    Mutant(
        "mmap keeps its temporary count",
        scene(scenes.file, scenes.map_and_unmap),
        COUNT,
        (("kernel.mmap", "unlink_file_vma", unlink_without_counting),),
    ),
    Mutant(
        "munmap forgets the references",
        scene(scenes.touched, scenes.unmapper),
        LEAK,
        (("kernel.mmap", "put_page", nothing),),
    ),
    Mutant(
        "munmap forgets the map count",
        scene(scenes.touched, scenes.unmapper),
        LEAK,
        (("kernel.memory_zap", "zap_page", zap_without_map_count),),
    ),
    Mutant(
        "truncation does not flush",
        scene(scenes.touched, scenes.loader, scenes.truncater),
        BUG,
        (("kernel.truncate", "flush_tlb", nothing),),
    ),
    Mutant(
        "shmem_getpage takes its second reference after publishing",
        scene(scenes.hole, scenes.loader, scenes.truncater),
        BUG,
        (("kernel.shmem", "shmem_getpage", getpage_second_reference_late),),
    ),
    Mutant(
        "shmem_fault does not look whether the page was truncated",
        scene(scenes.mapped, scenes.loader, scenes.truncater),
        AGREE,
        (("kernel.memory", "shmem_fault", fault_without_mapping_check),),
    ),
    Mutant(
        "shmem_fault makes a page beyond the end of a truncated file",
        scene(scenes.hole, scenes.loader, scenes.truncater),
        LEAK,
        (("kernel.memory", "shmem_fault", fault_that_never_looks_at_the_size_again),),
    ),
    Mutant(
        "a reader takes a page that may be free",
        scene(scenes.file, scenes.file_reader, scenes.truncater),
        BUG,
        (("kernel.filemap", "find_get_page", find_page_that_may_be_free),),
    ),
    Mutant(
        "two faults map a page twice over",
        scene(scenes.mapped, scenes.loader, scenes.writer),
        LEAK,
        (("kernel.memory", "do_set_pte", set_pte_without_looking),),
    ),
    Mutant(
        "do_wp_page makes the file's own page writable",
        scene(scenes.private, scenes.writer, scenes.sealer),
        SEALED,
        (("kernel.memory", "do_wp_page", wp_page_without_copy),),
    ),
    Mutant(
        "do_wp_page does not flush",
        scene(scenes.flag_and_private, scenes.watcher, scenes.flagger, always=(scenes.a_store_is_seen_by_all_threads,)),
        "a_store_is_seen_by_all_threads",
        (("kernel.memory", "flush_tlb", nothing),),
    ),
    Mutant(
        "fork does not flush",
        scene(
            scenes.private_copy,
            scenes.forker,
            scenes.writer_twice,
            children=(scenes.child,),
            always=(scenes.private_memory_is_ones_own,),
        ),
        "private_memory_is_ones_own",
        (("kernel.fork", "flush_tlb", nothing),),
    ),
    Mutant(
        "fork does not count the child's mapping",
        scene(scenes.mapped, scenes.forks_and_seals, children=(scenes.storing_child,)),
        SEALED,
        (("kernel.fork", "vma_link_file", link_without_counting),),
    ),
    Mutant(
        "fork takes no reference for the child",
        scene(scenes.touched, scenes.forks_and_seals, children=(scenes.storing_child,)),
        LEAK,
        (("kernel.fork", "get_page", nothing),),
    ),
    Mutant(
        "write looks at the seals before it locks",
        scene(scenes.file, scenes.file_writer, scenes.sealer),
        SEALED,
        (("kernel.read_write", "generic_perform_write", write_that_asks_before_it_locks),),
    ),
    Mutant(
        "ftruncate looks at F_SEAL_SHRINK before it locks",
        scene(scenes.file, scenes.truncater, scenes.shrink_sealer),
        SIZE,
        (("kernel.read_write", "shmem_setattr", resize_that_asks_before_it_locks),),
    ),
    Mutant(
        "ftruncate looks at F_SEAL_GROW before it locks",
        scene(scenes.file, scenes.grower, scenes.grow_sealer),
        SIZE,
        (("kernel.read_write", "shmem_setattr", resize_that_asks_before_it_locks),),
    ),
    Mutant(
        "write does not lock the position",
        scene(scenes.empty, scenes.appends_one, scenes.appends_two, always=(scenes.no_write_overwrites_another,)),
        "no_write_overwrites_another",
        (("kernel.entry", "SimSyscalls.write", write_without_f_pos_lock),),
    ),
]


@each(MUTANTS)
def test_the_mistake_is_found(mutant, monkeypatch):
    mutant.try_on(monkeypatch)
