"""A scanner that comes by page frame number and knows nothing of files.

Follows mm/page_idle.c (page_idle_get_page, page_idle_bitmap_read), v4.3, as kpageflags and compaction do: a reference
unless the count is 0, a look, and the reference is given back.  Nothing tells such a reference from one that stays.

Not modelled: walking the reverse mapping for accessed bits, which takes no further reference; pages of no file.
"""

from __future__ import annotations

from mmsim.kernel.page_alloc import put_page
from mmsim.kernel.types import CACHED, Inode, Kernel
from mmsim.syscalls import PAGE_SIZE


async def page_idle_bitmap_read(k: Kernel, inodes: tuple[Inode, ...]) -> None:
    """Look at every page of these files that is on an LRU list."""
    for inode in inodes:
        for index in range(-(-await inode.i_size.load() // PAGE_SIZE)):
            page = await inode.mapping.slot(index).load()
            if page is None or await page.lru.load() == CACHED or not await page.refcount.inc_not_zero():
                continue
            await page.flags.load()
            await put_page(k, page)
