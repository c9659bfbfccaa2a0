"""Truncation and hole punching: taking pages out of the cache and out of every mapping.

Follows mm/truncate.c (truncate_inode_page), mm/memory.c (unmap_mapping_range) and mm/shmem.c (shmem_undo_range),
v3.17.  The new i_size is in place before any page goes, so that a fault either sees it or finishes first.  A hole has
no such mark: a fault after the punch makes a new page of zeros, and one before it has its page taken away again.

Whole pages leave the cache whoever holds them, so a late write lands in a page that is no longer the file's.  What is
left of a page at either end is zeroed in place.

A truncation takes private copies away as well (even_cows), so nothing stays mapped beyond the end; a hole leaves them.

Not modelled: faults that wait for a punch (shmem_falloc), which keeps a punch from going on for
ever and forbids no order, for a fault may come just before it.
"""

from __future__ import annotations

from mmsim.kernel.filemap import find_get_page, wait_on_page_writeback
from mmsim.kernel.memory_zap import zap_page
from mmsim.kernel.page_alloc import delete_from_page_cache, put_page
from mmsim.kernel.tlb import flush_tlb
from mmsim.kernel.types import PG_DIRTY, TRUNCATED, AddressSpace, Kernel, Mm, PageFlags, Vma, patched
from mmsim.syscalls import PAGE_SIZE


def place_in_tree(entry: tuple[Mm, Vma]) -> tuple[int, int, int]:
    """An interval tree keeps no order of arrival, but for that of fork() (vma_interval_tree_insert_after).

    The child's VMA is linked first and its PTEs are copied later.  Who walks the tree must come to it after he was at
    the parent's: he would find nothing there yet, and what he then changes in the parent's PTE was copied as it was.
    """
    mm, vma = entry
    return vma.pgoff, mm.order, vma.start


async def unmap_mapping_page(k: Kernel, mapping: AddressSpace, index: int, *, even_cows: bool = False) -> None:
    """unmap_mapping_range() for one page: clear the PTEs of every mapping of it, and if asked of its private copies."""
    async with mapping.i_mmap_mutex:
        for mm, vma in sorted(await mapping.i_mmap.load(), key=place_in_tree):
            address = vma.address_of(index)
            if address is None:
                continue
            async with mm.page_table_lock:
                old = await mm.pte(address).load()
                gone = old is not None and (even_cows or not old.anon)
                zapped = await zap_page(mm, address) if gone else None
                if zapped is not None:
                    await flush_tlb(k, mm, (address,))
            if zapped is not None:
                await put_page(k, zapped.page)


async def truncate_range(k: Kernel, mapping: AddressSpace, start: int, end: int, *, even_cows: bool = False) -> None:
    """Put zeros, or holes, in the place of bytes `start` to `end`.  Called with i_mutex held."""
    first, last = -(-start // PAGE_SIZE), end // PAGE_SIZE
    for index in range(first, last):
        await unmap_mapping_page(k, mapping, index, even_cows=even_cows)
        await truncate_inode_page(k, mapping, index)
    if even_cows:
        # Again, for a fault that was under way may have copied a page before it left the cache.
        for index in range(first, last):
            await unmap_mapping_page(k, mapping, index, even_cows=True)
    if first > last:  # both ends within one page
        await zero_user_segment(k, mapping, last, start % PAGE_SIZE, end % PAGE_SIZE)
        return
    await zero_user_segment(k, mapping, first - 1, start % PAGE_SIZE or PAGE_SIZE, PAGE_SIZE)
    await zero_user_segment(k, mapping, last, 0, end % PAGE_SIZE)


async def truncate_inode_page(k: Kernel, mapping: AddressSpace, index: int) -> None:
    """Have one page leave the cache, whoever holds it."""
    attached = False
    # Again until the slot is empty: a migration may have put another page there before this one could be locked.
    while not attached and (page := await mapping.slot(index).load()) is not None:
        async with page.lock:
            # A fault that came too late may have taken it out of the cache itself.
            attached = await page.mapping.load() is mapping
            if attached:
                # A fault may have mapped it again before it could be locked; nobody maps it once it is detached.
                if await page.mapcount.load():
                    await unmap_mapping_page(k, mapping, index)
                if mapping.host.sb.block_backed:
                    # The disk may be reading the page for what is cut off; afterwards nobody shall write it again.
                    await wait_on_page_writeback(page)
                await page.flags.update(cut_off)
                await delete_from_page_cache(page, mapping, index)
        if attached:
            await put_page(k, page)


def cut_off(flags: PageFlags) -> PageFlags:
    """cancel_dirty_page(), and for whoever judges: what is written to the page from here on is written to no file."""
    return flags - {PG_DIRTY} | {TRUNCATED}


async def zero_user_segment(k: Kernel, mapping: AddressSpace, index: int, start: int, end: int) -> None:
    """Zero bytes `start` to `end` of a page in place, if the file has the page: who maps it or pinned it sees it.

    The page is locked, and referred to, as shmem_getpage() hands it to shmem_undo_range() and find_or_create_page() to
    ext4_block_truncate_page(): or a migration could copy it before, and put the copy in its place after that.
    """
    attached = False
    while start < end and not attached and (page := await find_get_page(k, mapping, index)) is not None:
        async with page.lock:
            attached = await page.mapping.load() is mapping
            for number in k.words if attached else ():
                first = number * k.word_size
                low, high = max(start - first, 0), min(end - first, k.word_size)
                if low < high:
                    await page.word(number).update(patched, low, bytes(high - low))
        await put_page(k, page)
