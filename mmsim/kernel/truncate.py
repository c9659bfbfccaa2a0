"""Truncation: taking pages out of the cache and out of every mapping.

Follows mm/truncate.c (truncate_inode_page), mm/memory.c (unmap_mapping_range) and mm/shmem.c (shmem_undo_range),
v3.17.  The new i_size is in place before any page goes, so that a fault either sees it or finishes first.

Not modelled: private copies (even_cows) stay mapped beyond the end, though Linux removes them, because no verdict of
a file's content depends on them.
"""

from __future__ import annotations

from mmsim.kernel.filemap import clear_page_flag, wait_on_page_writeback
from mmsim.kernel.memory_zap import zap_page
from mmsim.kernel.page_alloc import delete_from_page_cache, put_page
from mmsim.kernel.tlb import flush_tlb
from mmsim.kernel.types import PG_DIRTY, AddressSpace, Kernel, Mm, Vma, patched
from mmsim.syscalls import PAGE_SIZE


def place_in_tree(entry: tuple[Mm, Vma]) -> tuple[int, str, int]:
    """An interval tree keeps no order of arrival; the mms of one page come in the order of their names."""
    mm, vma = entry
    return vma.pgoff, mm.name, vma.start


async def unmap_mapping_page(k: Kernel, mapping: AddressSpace, index: int) -> None:
    """unmap_mapping_range() for one page: clear the PTEs of every mapping of it."""
    async with mapping.i_mmap_mutex:
        for mm, vma in sorted(await mapping.i_mmap.load(), key=place_in_tree):
            address = vma.start + (index - vma.pgoff) * PAGE_SIZE
            if not vma.start <= address < vma.end:
                continue
            async with mm.page_table_lock:
                old = await mm.pte(address).load()
                if old is not None and not old.anon:
                    await zap_page(mm, address)
                    await flush_tlb(k, mm, (address,))
            if old is not None and not old.anon:
                await put_page(k, old.page)


async def truncate_pagecache(k: Kernel, mapping: AddressSpace, size: int, old_size: int) -> None:
    """Remove what lies beyond `size` bytes.  Called with i_mutex held and i_size already lowered."""
    keep = -(-size // PAGE_SIZE)
    for index in range(keep, -(-old_size // PAGE_SIZE)):
        await unmap_mapping_page(k, mapping, index)
        page = await mapping.slot(index).load()
        if page is None:
            continue
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
                    await clear_page_flag(page, PG_DIRTY)
                await delete_from_page_cache(page, mapping, index)
        if attached:
            await put_page(k, page)
    if size % PAGE_SIZE:
        page = await mapping.slot(keep - 1).load()
        if page is not None:
            for number in k.words:
                first = number * k.word_size
                start = max(size % PAGE_SIZE - first, 0)
                if start < k.word_size:
                    await page.word(number).update(patched, start, bytes(k.word_size - start))
