"""Taking pages out of a page table.

Follows mm/memory.c (zap_pte_range) and mm/rmap.c (page_remove_rmap), v3.17, and v3.14 for when it flushed.
Not modelled: batches (mmu_gather holds any number of pages), because a batch that fills up only flushes earlier.
"""

from __future__ import annotations

from mmsim.kernel.filemap import set_page_dirty
from mmsim.kernel.releases import UNMAP_FLUSHES_LATE
from mmsim.kernel.tlb import flush_tlb
from mmsim.kernel.types import Kernel, Mm, Page, Pte, Vma


async def zap_page(mm: Mm, address: int) -> Pte | None:
    """Clear one PTE and the page's map count; the caller holds page_table_lock and now owns the reference, if any.

    None if nothing was there, or a migration entry, which owns nothing.
    """
    old = await mm.pte(address).exchange(None)
    if old is not None and old.migrating:
        return None
    if old is not None and not old.special:
        if old.dirty and not old.anon:
            await set_page_dirty(old.page)
        # The map count falls before the reference does: refcount >= mapcount is what the check for pins relies on.
        await old.page.mapcount.dec()
    return old


async def zap_pte_range(k: Kernel, mm: Mm, vma: Vma) -> tuple[tuple[Page, ...], tuple[int, ...]]:
    """Clear the PTEs of `vma`: the pages whose references are now the caller's, and the addresses not flushed yet."""
    pages: list[Page] = []
    stale: list[int] = []
    dirty: list[int] = []
    async with mm.page_table_lock:
        for address in vma.pages():
            old = await zap_page(mm, address)
            if old is None:
                continue
            if not old.special:
                pages.append(old.page)
            (dirty if old.dirty and vma.shared else stale).append(address)
        if k.release.has(UNMAP_FLUSHES_LATE):
            return tuple(pages), tuple(dirty + stale)
        # A dirty shared entry lets its CPU store without asking again, so it is flushed before anybody can see the
        # cleared PTE unlocked: a later flush would let a store land in a page already written back, freed or sealed.
        await flush_tlb(k, mm, tuple(dirty))
    return tuple(pages), tuple(stale)
