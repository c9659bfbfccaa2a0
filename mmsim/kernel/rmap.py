"""From a page of a file to the page tables that map it.

Follows mm/rmap.c (page_mkclean, page_mkclean_file, page_mkclean_one), v3.17.
Not modelled: anonymous pages, because nothing here unmaps them to swap them out.
"""

from __future__ import annotations

import attrs

from mmsim.kernel.tlb import flush_tlb
from mmsim.kernel.truncate import place_in_tree
from mmsim.kernel.types import AddressSpace, Kernel, Mm, Page


async def page_mkclean(k: Kernel, mapping: AddressSpace, page: Page, index: int) -> bool:
    """Write-protect and clean every shared mapping of the page: whether one was writable or dirty.

    The next store faults, so the file system hears of it.  A page that get_user_pages() gave away is written through
    no page table, and nothing is heard of that.
    """
    cleaned = False
    async with mapping.i_mmap_mutex:
        for mm, vma in sorted(await mapping.i_mmap.load(), key=place_in_tree):
            address = vma.address_of(index)
            if address is not None and vma.shared:
                cleaned |= await page_mkclean_one(k, mm, address, page)
    return cleaned


async def page_mkclean_one(k: Kernel, mm: Mm, address: int, page: Page) -> bool:
    """Write-protect and clean one entry: whether it was writable or dirty."""
    slot = mm.pte(address)
    async with mm.page_table_lock:
        pte = await slot.load()
        if pte is None or pte.page is not page or not (pte.write or pte.dirty):
            return False
        # Cleared before the flush, or a CPU would walk again and remember it writable; when the lock is dropped no CPU
        # can store through what it remembers.
        await slot.store(None)
        await flush_tlb(k, mm, (address,))
        await slot.store(attrs.evolve(pte, write=False, dirty=False))
    return True
