"""The page cache: looking a page up, reading a file.

Follows mm/filemap.c (find_get_page, find_lock_page, do_generic_file_read) and mm/shmem.c (shmem_file_read_iter), v3.17.

Not modelled: read-ahead and uptodate bits, because a memfd has no backing store.
"""

from __future__ import annotations

from mmsim.kernel.page_alloc import put_page
from mmsim.kernel.page_ref import spin_while_frozen
from mmsim.kernel.swap import mark_page_accessed
from mmsim.kernel.types import AddressSpace, Inode, Kernel, Page, use
from mmsim.syscalls import PAGE_SIZE


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
        page = await find_get_page(k, inode.mapping, index)
        if page is None:
            parts.append(bytes(end - start))
        else:
            await mark_page_accessed(k, page)
            parts.append(await read_page(k, page, start, end))
            await put_page(k, page)
        position += end - start
        length -= end - start
    return b"".join(parts)
