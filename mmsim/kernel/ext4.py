"""A file system on a disk: it wants to hear of the first store to a page, and refuses where the file is immutable.

Follows fs/ext4/inode.c (ext4_write_begin, ext4_page_mkwrite, ext4_setattr), fs/ext4/file.c (ext4_file_write),
mm/filemap.c (generic_perform_write) and fs/buffer.c (block_page_mkwrite), v3.17; for files that were open when they
became immutable fs/ext4/file.c of v5.3.

Not modelled: blocks and buffers, the journal and running out of space; that a page overwritten whole need not be read
first, which only saves time.
"""

from __future__ import annotations

import signal

from mmsim.kernel.filemap import read_cache_page, set_page_dirty, wait_for_stable_page
from mmsim.kernel.page_alloc import put_page
from mmsim.kernel.releases import EXT4_ENFORCES_IMMUTABLE
from mmsim.kernel.shmem import write_page
from mmsim.kernel.truncate import truncate_range
from mmsim.kernel.types import Inode, Kernel, Page
from mmsim.syscalls import EPERM, FS_IMMUTABLE_FL, PAGE_SIZE, SIGBUS


async def refuses_writing(k: Kernel, inode: Inode) -> bool:
    """Whether the file is immutable for those who have it open already."""
    return k.release.has(EXT4_ENFORCES_IMMUTABLE) and bool(await inode.i_flags.load() & FS_IMMUTABLE_FL)


async def ext4_perform_write(k: Kernel, inode: Inode, position: int, data: bytes) -> int:
    """Write page by page: the bytes written, or -EPERM."""
    written = 0
    async with inode.i_mutex:
        if await refuses_writing(k, inode):
            return -EPERM
        while written < len(data):
            index, start = divmod(position + written, PAGE_SIZE)
            chunk = data[written : written + PAGE_SIZE - start]
            page = await read_cache_page(k, inode, index)
            await wait_for_stable_page(inode, page)
            await write_page(k, page, start, chunk)
            await set_page_dirty(page)
            written += len(chunk)
            if position + written > await inode.i_size.load():
                await inode.i_size.store(position + written)
            await page.lock.release()
            await put_page(k, page)
    return written


async def ext4_page_mkwrite(k: Kernel, inode: Inode, page: Page, index: int) -> tuple[bool, signal.Signals | None]:
    """A page is about to become writable: whether it is now locked; if not, the signal to raise or None to fault again.

    Dirty before the entry is writable and locked until it is: writeback must either not have begun, or write-protect
    the entry again.
    """
    if await refuses_writing(k, inode):
        return False, SIGBUS
    await page.lock.acquire()
    if await page.mapping.load() is not inode.mapping or index * PAGE_SIZE >= await inode.i_size.load():
        await page.lock.release()
        return False, None
    await set_page_dirty(page)
    await wait_for_stable_page(inode, page)
    return True, None


async def ext4_setattr(k: Kernel, inode: Inode, size: int) -> int:
    """Change the size: 0, or -EPERM."""
    async with inode.i_mutex:
        if await refuses_writing(k, inode):
            return -EPERM
        old = await inode.i_size.load()
        if size <= old:  # ext4_truncate() is called where the size stays as well
            await ext4_block_truncate_page(k, inode, size)
        if size != old:
            await inode.i_size.store(size)
        if size < old:
            await truncate_range(k, inode.mapping, size, -(-old // PAGE_SIZE) * PAGE_SIZE, even_cows=True)
            for index in range(-(-size // PAGE_SIZE), -(-old // PAGE_SIZE)):
                await inode.disk(index).store(bytes(PAGE_SIZE))
    return 0


async def ext4_block_truncate_page(k: Kernel, inode: Inode, size: int) -> None:
    """Zero what follows the new end in its page, in the cache and so, by and by, on the disk."""
    index, start = divmod(size, PAGE_SIZE)
    if start:
        page = await read_cache_page(k, inode, index)
        await wait_for_stable_page(inode, page)
        await write_page(k, page, start, bytes(PAGE_SIZE - start))
        await set_page_dirty(page)
        await page.lock.release()
        await put_page(k, page)
