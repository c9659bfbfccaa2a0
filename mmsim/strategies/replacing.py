"""What several designs share that give the file another page, and leave the old one to whoever holds it.

The page's lock keeps faults away meanwhile: whoever waits for it in a fault finds the page detached, and looks again.
Only fork() maps a page without that lock, and it can copy nothing but an entry that is there; the walk is at the parent
before it is at the child, so what it has taken out of both stays out.

A read(2) that began before may still return the old page, as it could return what a write(2) has since overwritten.
"""

from __future__ import annotations

from mmsim.kernel.filemap import find_lock_page, unlock_and_put, wait_on_page_writeback
from mmsim.kernel.memory import copy_page
from mmsim.kernel.page_alloc import get_cache_references, put_cache_references, put_page
from mmsim.kernel.truncate import unmap_mapping_page
from mmsim.kernel.types import AddressSpace, Kernel, Page


async def replace_page(k: Kernel, mapping: AddressSpace, index: int, page: Page) -> None:
    """replace_page_cache_page(): put a copy in the place of a page that is locked and unmapped."""
    if mapping.host.sb.block_backed:
        # Or the flusher, whose page this is no longer, would end the writeback of the old page and not of the copy.
        await wait_on_page_writeback(page)
    # Copied after the unmapping: a mapping must not show what the copy does not have.
    copy = await copy_page(k, page, page.nr_pages)
    await get_cache_references(copy)
    await copy.mapping.store(mapping)
    await copy.index.store(index)
    await copy.flags.store(await page.flags.load())  # or what is dirty would never reach a disk
    await mapping.slot(index).store(copy)
    # Detached before it is unlocked: a fault that waits for the lock must not map the old page.
    await page.mapping.store(None)
    await put_cache_references(page)
    await put_page(k, page)


async def unmap_and_replace(k: Kernel, mapping: AddressSpace, index: int) -> None:
    """Give the file a copy of its page `index`, if it has one."""
    page = await find_lock_page(k, mapping, index)
    if page is not None:
        await unmap_mapping_page(k, mapping, index)
        await replace_page(k, mapping, index, page)
        await unlock_and_put(k, page)
