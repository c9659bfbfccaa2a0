"""The page cache: looking a page up, reading a file.

Follows mm/filemap.c (find_get_page, find_lock_page, find_or_create_page, do_generic_file_read, filemap_fault,
wait_on_page_writeback), mm/page-writeback.c (set_page_dirty) and mm/shmem.c (shmem_file_read_iter), v3.17.

Not modelled: read-ahead, because it only reads earlier; tree_lock, because each tag here is one atomic update; reclaim.
"""

from __future__ import annotations

from mmsim.kernel.page_alloc import alloc_page, get_page, put_page
from mmsim.kernel.page_ref import spin_while_frozen
from mmsim.kernel.swap import lru_cache_add, mark_page_accessed
from mmsim.kernel.types import (
    PG_DIRTY,
    PG_UPTODATE,
    PG_WRITEBACK,
    AddressSpace,
    Inode,
    Kernel,
    Page,
    PageFlags,
    SuperBlock,
    use,
)
from mmsim.syscalls import PAGE_SIZE


def cleared(flags: PageFlags, flag: str) -> tuple[PageFlags, bool]:
    """The flags without this one, and whether it was there."""
    return flags - {flag}, flag in flags


def lacks(flags: PageFlags, flag: str) -> bool:
    """Whether this flag is clear."""
    return flag not in flags


async def clear_page_flag(page: Page, flag: str) -> bool:
    """TestClearPage...(): whether it was set."""
    was: bool = await page.flags.fetch_update(cleared, flag)
    return was


async def wait_on_page_writeback(page: Page) -> None:
    """Until the disk has read the page."""
    await page.flags.wait_until(lacks, PG_WRITEBACK)


async def wait_for_stable_page(inode: Inode, page: Page) -> None:
    """Before a page changes: until the disk has read it, where the disk cannot bear to see it change."""
    if inode.sb.stable:
        await wait_on_page_writeback(page)


Tags = frozenset[tuple[Inode, int]]


def tagged(tags: Tags, inode: Inode, index: int) -> Tags:
    """The dirty pages, with this one."""
    return tags | {(inode, index)}


async def set_page_dirty(page: Page) -> None:
    """The page's content is not the disk's any more: whoever makes it dirty tells the flusher.  Atomics only."""
    if await page.flags.test_and_set(PG_DIRTY) or not any(sb.block_backed for sb in page.world.of(SuperBlock)):
        return
    mapping = await page.mapping.load()
    inode = mapping.host if mapping is not None else None
    if inode is not None and inode.sb.block_backed:
        await inode.sb.b_dirty.update(tagged, inode, await page.index.load())


async def find_get_page(k: Kernel, mapping: AddressSpace, index: int) -> Page | None:
    """The cached page with a reference, or None for a hole.  Takes no lock, as page_cache_get_speculative()."""
    slot = mapping.slot(index)
    while True:
        page = await slot.load()
        if page is None:
            return None
        if not await page.refcount.inc_not_zero():
            await spin_while_frozen(page)
            continue  # it was freed or frozen since; look again
        # Only a page still in its slot is the file's: without this second look a truncated page would be returned.
        if await slot.load() is page:
            return page
        await put_page(k, page)


async def find_lock_page(k: Kernel, mapping: AddressSpace, index: int) -> Page | None:
    """The cached page locked and with a reference, or None for a hole."""
    while True:
        page = await find_get_page(k, mapping, index)
        if page is None:
            return None
        await page.lock.acquire()
        # Whoever had it locked may have given the file another page meanwhile, or none.
        if await page.mapping.load() is mapping:
            return page
        await unlock_and_put(k, page)


async def unlock_and_put(k: Kernel, page: Page) -> None:
    """Undo find_lock_page()."""
    await page.lock.release()
    await put_page(k, page)


async def find_or_create_page(k: Kernel, mapping: AddressSpace, index: int) -> Page:
    """The file's page `index`, locked and with a reference; a new one is not up to date."""
    while True:
        page = await find_lock_page(k, mapping, index)
        if page is not None:
            return page
        page = await alloc_page(k)
        await page.mapping.store(mapping)
        await page.index.store(index)
        await get_page(page)
        # Locked before it can be seen: nobody may read it before the disk was read.
        await page.lock.acquire()
        if await mapping.slot(index).cmpxchg(None, page):
            await lru_cache_add(k, page)
            return page
        await put_page(k, page)
        await unlock_and_put(k, page)


async def read_cache_page(k: Kernel, inode: Inode, index: int) -> Page:
    """The file's page `index` with what the disk has, locked and with a reference."""
    page = await find_or_create_page(k, inode.mapping, index)
    if PG_UPTODATE not in await page.flags.load():
        # No block is asked for beyond the end, where a truncation may have yet to free what the disk has.
        if index * PAGE_SIZE < await inode.i_size.load():
            content = await inode.disk(index).load()
            for number in k.words:
                await page.word(number).store(content[number * k.word_size :][: k.word_size])
        await page.flags.test_and_set(PG_UPTODATE)
    return page


async def filemap_get_page(k: Kernel, inode: Inode, index: int) -> Page | None:
    """The page to read with a reference, or None for a hole of a file that has no disk behind it."""
    page = await find_get_page(k, inode.mapping, index)
    if not inode.sb.block_backed or (page is not None and PG_UPTODATE in await page.flags.load()):
        return page
    if page is not None:
        await put_page(k, page)
    page = await read_cache_page(k, inode, index)
    await page.lock.release()
    return page


async def filemap_fault(k: Kernel, inode: Inode, index: int) -> Page | None:
    """The page to map, locked and with a reference; None beyond the end of the file (SIGBUS)."""
    if index * PAGE_SIZE >= await inode.i_size.load():
        return None
    page = await read_cache_page(k, inode, index)
    # Truncation may be over and done with: what is mapped beyond the end would stay.
    if index * PAGE_SIZE < await inode.i_size.load():
        return page
    await unlock_and_put(k, page)
    return None


async def read_page(k: Kernel, page: Page, start: int, end: int) -> bytes:
    """Bytes `start` to `end` of a page, copied word by word as copy_to_user() does."""
    parts = []
    for number in k.words:
        first = number * k.word_size
        if first < end and first + k.word_size > start:
            word = use(await page.word(number).load(), page)
            parts.append(word[max(start - first, 0) : end - first])
    return b"".join(parts)


async def generic_file_read(k: Kernel, inode: Inode, position: int, length: int) -> bytes:
    """Up to `length` bytes at `position`; fewer where the file ends.  Holes read as zeros."""
    parts = []
    while length > 0:
        size = await inode.i_size.load()
        index, start = divmod(position, PAGE_SIZE)
        end = min(start + length, PAGE_SIZE, start + size - position)
        if end <= start:
            break
        page = await filemap_get_page(k, inode, index)
        if page is None:
            parts.append(bytes(end - start))
        else:
            await mark_page_accessed(k, page)
            parts.append(await read_page(k, page, start, end))
            await put_page(k, page)
        position += end - start
        length -= end - start
    return b"".join(parts)
