"""Writing dirty pages back to the disk.

Follows mm/page-writeback.c (write_cache_pages, clear_page_dirty_for_io, wait_for_stable_page), mm/filemap.c
(filemap_write_and_wait), fs/fs-writeback.c (the flusher) and fs/sync.c (sync), v3.17.

The order for a page is the kernel's: (1) its page-table entries are write-protected; (2) PG_dirty is cleared; (3)
PG_writeback is set and the page unlocked; (4) the disk reads it.  (1) before (2) because a store after (2) must set
PG_dirty again, and only a fault does that; (3) before (4) because whoever needs a page to stay as it is waits for
PG_writeback.  Step (1) does not reach a page that get_user_pages() gave away.

Not modelled: the journal, delayed allocation and the size's own way to the disk, because only contents are asked
about; batches, because they write the same pages later; a synchronous writer gives the flusher no work but does it
himself.  A disk answers at once, or with the flusher never.
"""

from __future__ import annotations

from mmsim.kernel.filemap import (
    clear_page_flag,
    find_get_page,
    read_page,
    set_page_dirty,
    tagged,
    wait_on_page_writeback,
)
from mmsim.kernel.page_alloc import put_page
from mmsim.kernel.rmap import page_mkclean
from mmsim.kernel.types import PG_DIRTY, PG_WRITEBACK, Inode, Kernel, Page, SuperBlock
from mmsim.syscalls import PAGE_SIZE

Tags = frozenset[tuple[Inode, int]]


def some(tags: Tags) -> bool:
    """Whether there is work."""
    return bool(tags)


def untagged(tags: Tags, inode: Inode, index: int) -> Tags:
    """The dirty pages without this one."""
    return tags - {(inode, index)}


def by_name(tag: tuple[Inode, int]) -> tuple[str, int]:
    """The order in which the flusher goes through them."""
    return tag[0].name, tag[1]


async def clear_page_dirty_for_io(k: Kernel, inode: Inode, page: Page, index: int) -> bool:
    """Whether the page has to be written; from here on who changes it makes it dirty again.  Called with it locked."""
    if await page_mkclean(k, inode.mapping, page, index):
        await set_page_dirty(page)
    return await clear_page_flag(page, PG_DIRTY)


async def write_cache_page(k: Kernel, inode: Inode, index: int) -> bool:
    """Write one page if it is dirty; False if it was taken from the file meanwhile, and another may have its place."""
    page = await find_get_page(k, inode.mapping, index)
    if page is None:
        return True
    await page.lock.acquire()
    # Truncation may have been faster, and so may another writer.
    attached = await page.mapping.load() is inode.mapping
    cleaned = False
    if attached and PG_DIRTY in await page.flags.load():
        await wait_on_page_writeback(page)
        cleaned = await clear_page_dirty_for_io(k, inode, page, index)
        if cleaned:
            await page.flags.test_and_set(PG_WRITEBACK)
    await page.lock.release()
    if cleaned:
        await inode.disk(index).store(await read_page(k, page, 0, PAGE_SIZE))
        await clear_page_flag(page, PG_WRITEBACK)
    await put_page(k, page)
    return attached


async def filemap_write_and_wait(k: Kernel, inode: Inode) -> None:
    """Write all that is dirty of a file, and wait for what somebody else is writing."""
    pages = -(-await inode.i_size.load() // PAGE_SIZE)
    for index in range(pages):
        await write_cache_page(k, inode, index)
    for index in range(pages):
        page = await find_get_page(k, inode.mapping, index)
        if page is not None:
            await wait_on_page_writeback(page)
            await put_page(k, page)


async def sync_inodes_sb(k: Kernel, sb: SuperBlock) -> None:
    """Write every dirty page of a file system, and wait for it."""
    if sb.block_backed:
        for inode in await sb.s_inodes.load():
            await filemap_write_and_wait(k, inode)


async def sync(k: Kernel) -> None:
    """sync(2): wait for every mount that may be written; a read-only one is left to its flusher, which is woken."""
    for sb in k.world.of(SuperBlock):
        if sb.block_backed:
            async with sb.s_umount.read():
                if not await sb.s_readonly.load():
                    await sync_inodes_sb(k, sb)


async def wb_workfn(k: Kernel, sb: SuperBlock) -> None:
    """The flusher: writes what is dirty, sooner or later.  It asks no mount whether it may be written."""
    while True:
        for inode, index in sorted(await sb.b_dirty.wait_until(some), key=by_name):
            # Untagged before it is cleaned, for whoever makes it dirty after that must find it untagged to tag it.
            await sb.b_dirty.update(untagged, inode, index)
            if not await write_cache_page(k, inode, index):
                await sb.b_dirty.update(tagged, inode, index)  # the tag is the slot's, not the page's
