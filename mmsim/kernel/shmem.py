"""Shared memory files: pages on demand, writing, changing size and mode, allocating, punching holes.

Follows mm/shmem.c (shmem_getpage, shmem_fault, shmem_write_begin, shmem_setattr, shmem_fallocate), v3.17, for the
younger seals v6.12, and where a file is on hugetlbfs fs/hugetlbfs/inode.c of v6.12, which asks the same questions
(one page is one `Page`; see mmsim.kernel.memfd) but has no write(2) and guards no mode.

Not modelled: swap; lock_page() in write_begin, because i_mutex already excludes truncation and other writers there;
pages allocated beyond the end (FALLOC_FL_KEEP_SIZE), because nobody sees them before the file grows to them, and then
finds the zeros that a hole reads as.  On hugetlbfs since v6.1 a load sees them, which is not modelled either.
"""

from __future__ import annotations

from mmsim.kernel.filemap import find_get_page
from mmsim.kernel.page_alloc import (
    alloc_page,
    delete_from_page_cache,
    get_cache_references,
    get_page,
    put_cache_references,
    put_page,
)
from mmsim.kernel.releases import (
    HUGETLB_MAPS_WHOLE_PAGES,
    HUGETLB_PUNCHES_WHOLE_PAGES,
    SAME_SIZE_TRUNCATES,
    SHMEM_HAS_HUGE_PAGES,
)
from mmsim.kernel.swap import lru_cache_add
from mmsim.kernel.truncate import truncate_range
from mmsim.kernel.types import HPAGE_PMD_NR, AddressSpace, Inode, Kernel, Page, patched
from mmsim.syscalls import (
    EINVAL,
    EOPNOTSUPP,
    EPERM,
    F_SEAL_EXEC,
    F_SEAL_FUTURE_WRITE,
    F_SEAL_GROW,
    F_SEAL_SHRINK,
    F_SEAL_WRITE,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    PAGE_SIZE,
)

F_SEAL_NO_WRITE = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE
PERMISSIONS, ANY_X = 0o7777, 0o111


async def shmem_getpage(k: Kernel, inode: Inode, index: int) -> tuple[Page, bool]:
    """The file's page `index` with a reference, allocated where there was a hole; whether it was."""
    mapping = inode.mapping
    while True:
        page = await find_get_page(k, mapping, index)
        if page is not None:
            return page, False
        page = await alloc_page(k, shmem_nr_pages(k, inode))
        if await shmem_add_to_page_cache(k, page, mapping, index):
            await lru_cache_add(k, page)
            return page, True
        await put_page(k, page)


async def shmem_add_to_page_cache(k: Kernel, page: Page, mapping: AddressSpace, index: int) -> bool:
    """Make a new page the file's, with a reference of the cache's own; False if there is one already."""
    await page.mapping.store(mapping)
    await page.index.store(index)
    # Both references before the page can be seen: whoever finds it in the slot may drop "its" own at once.
    await get_page(page)
    await get_cache_references(page)
    added = await mapping.slot(index).cmpxchg(None, page)
    if not added:
        await put_cache_references(page)
        await put_page(k, page)
    return added


def shmem_nr_pages(k: Kernel, inode: Inode) -> int:
    """How large a new page is: what shmem_enabled says."""
    huge = k.shmem_huge and inode.sb.kind == "tmpfs" and k.release.has(SHMEM_HAS_HUGE_PAGES)
    return HPAGE_PMD_NR if huge else 1


async def shmem_fault(k: Kernel, inode: Inode, index: int) -> Page | None:
    """The page to map, locked and with a reference; None beyond the end of the file (SIGBUS)."""
    while True:
        if await beyond_end(k, inode, index, made=await is_hole(inode, index)):
            return None
        page, alloced = await shmem_getpage(k, inode, index)
        await page.lock.acquire()
        # Truncation removes a page under its lock: one still attached cannot go before the caller unlocks it.
        attached = await page.mapping.load() is inode.mapping
        # Truncation may be over and done with: nobody would ever remove a page that is made beyond the end.
        beyond = attached and await beyond_end(k, inode, index, made=alloced)
        if attached and not beyond:
            return page
        if beyond and alloced:
            await delete_from_page_cache(page, inode.mapping, index)
            await put_page(k, page)
        await page.lock.release()
        await put_page(k, page)


async def shmem_write_begin(inode: Inode, end: int) -> int:
    """Whether the seals allow a write up to byte `end`: 0 or -EPERM.  Called with i_mutex held."""
    seals = await inode.seals.load()
    if seals & F_SEAL_NO_WRITE:
        return -EPERM
    if seals & F_SEAL_GROW and end > await inode.i_size.load():
        return -EPERM
    return 0


async def is_hole(inode: Inode, index: int) -> bool:
    """Whether a fault of hugetlbfs has to make the page.  Who does not care is told so without a look."""
    return inode.sb.kind != "hugetlbfs" or await inode.mapping.slot(index).load() is None


async def beyond_end(k: Kernel, inode: Inode, index: int, *, made: bool) -> bool:
    """Whether there is nothing to map.  `made`: the fault made the page, or has to.

    On hugetlbfs a last page that the file does not fill, as fallocate() may leave it, is not made by faults, and before
    v6.1 is not mapped either (hugetlb_no_page()).
    """
    size = await inode.i_size.load()
    if inode.sb.kind != "hugetlbfs":
        return index * PAGE_SIZE >= size
    return index >= size // PAGE_SIZE and (made or k.release.has(HUGETLB_MAPS_WHOLE_PAGES))


async def generic_perform_write(k: Kernel, inode: Inode, position: int, data: bytes) -> int:
    """Write chunk by chunk of at most a page: the bytes written, or an errno if there are none."""
    if inode.sb.kind == "hugetlbfs":
        return -EINVAL  # it has no ->write_iter
    written = 0
    async with inode.i_mutex:
        while written < len(data):
            index, start = divmod(position + written, PAGE_SIZE)
            chunk = data[written : written + PAGE_SIZE - start]
            # What is judged at once may be more than what is copied at once: the largest folio there could be.
            limit = k.release.write_chunk - (position + written) % k.release.write_chunk
            error = await shmem_write_begin(inode, position + min(written + limit, len(data)))
            if error:
                return written or error
            page, _ = await shmem_getpage(k, inode, index)
            await write_page(k, page, start, chunk)
            written += len(chunk)
            # The size grows only after the data is there: a reader must never see the hole that was.
            if position + written > await inode.i_size.load():
                await inode.i_size.store(position + written)
            await put_page(k, page)
    return written


async def write_page(k: Kernel, page: Page, start: int, data: bytes) -> None:
    """Copy `data` into a page at byte `start`, word by word."""
    for number in k.words:
        first = number * k.word_size
        low, high = max(start, first), min(start + len(data), first + k.word_size)
        if low < high:
            await page.word(number).update(patched, low - first, data[low - start : high - start])


async def shmem_setattr(k: Kernel, inode: Inode, size: int) -> int:
    """Change the size: 0, or -EPERM where a seal forbids it."""
    if inode.sb.kind == "hugetlbfs" and size % PAGE_SIZE:
        return -EINVAL
    async with inode.i_mutex:
        old = await inode.i_size.load()
        seals = await inode.seals.load()
        if (size < old and seals & F_SEAL_SHRINK) or (size > old and seals & F_SEAL_GROW):
            return -EPERM
        if size != old:
            await inode.i_size.store(size)
        if size < old or (size == old and k.release.has(SAME_SIZE_TRUNCATES)):
            await truncate_range(k, inode.mapping, size, -(-old // PAGE_SIZE) * PAGE_SIZE, even_cows=True)
    return 0


async def shmem_chmod(inode: Inode, mode: int) -> int:
    """Change the permissions: 0, or -EPERM where F_SEAL_EXEC guards an x bit.  hugetlbfs never looks at the seal."""
    async with inode.i_mutex:
        changed = (await inode.i_mode.load() ^ mode) & ANY_X
        if changed and inode.sb.kind != "hugetlbfs" and await inode.seals.load() & F_SEAL_EXEC:
            return -EPERM
        await inode.i_mode.store(mode & PERMISSIONS)
    return 0


async def shmem_fallocate(k: Kernel, inode: Inode, mode: int, offset: int, length: int) -> int:
    """Allocate pages, or punch a hole: 0 or an errno.  What is allocated reads as the hole did, so no seal minds."""
    hugetlb = inode.sb.kind == "hugetlbfs"
    punch, keep_size = mode & FALLOC_FL_PUNCH_HOLE, mode & FALLOC_FL_KEEP_SIZE
    if mode & ~(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE):
        return -EOPNOTSUPP
    end = offset + length
    async with inode.i_mutex:
        if punch:
            if hugetlb and k.release.has(HUGETLB_PUNCHES_WHOLE_PAGES):
                offset, end = -(-offset // PAGE_SIZE) * PAGE_SIZE, end // PAGE_SIZE * PAGE_SIZE
                if offset >= end:
                    return 0  # with no look at the seals
            if await inode.seals.load() & F_SEAL_NO_WRITE:
                return -EPERM
            # hugetlb_vmdelete_list() does not tell a private copy from the file's page.
            await truncate_range(k, inode.mapping, offset, end, even_cows=hugetlb)
            return 0
        size = await inode.i_size.load()
        if await inode.seals.load() & F_SEAL_GROW and end > size:
            return -EPERM
        last = -(-(min(end, size) if keep_size else end) // PAGE_SIZE)
        for index in range(offset // PAGE_SIZE, last):
            page, _ = await shmem_getpage(k, inode, index)
            await put_page(k, page)
        if not keep_size and end > size:
            await inode.i_size.store(end)
    return 0
