"""Hugh Dickins' other idea: a page flag for what a mapping leaves behind, and one count in i_mmap_writable per page.

munmap() flags every page that still has references beyond the cache's and the page tables', and raises the counter
once for it.  put_page() tests the flag, which is in the cache line it writes anyway; on a flagged page it looks whether
cache and mappings are all that is left, and then clears the flag and lowers the counter.  Whoever clears the flag
lowers the counter, once.  The flag is set before the page is looked at, so that one of the two sees the other.

No caller is converted and struct page does not grow, for one page flag: which 32-bit kernels do not have.  It claims
that get_user_pages() is unchanged and that every last reference is noticed, and is wrong about the second.  What is
left is a sum of two counts, loaded one after the other; it changes where no reference is put at all, as when a fault
hands the one it holds to a page table, and then the counter stays up and the file cannot be sealed.  The other way
round, a mapping that goes between the loads makes a page look left alone that a device still writes.  And the
counter is found through page->mapping, which a truncation clears, and an eviction frees while it is looked at.
"""

from __future__ import annotations

import attrs

from mmsim.kernel.page_alloc import free_page
from mmsim.kernel.strategy import EVERY_PROMISE, Budget, linux
from mmsim.kernel.types import AddressSpace, Kernel, Mm, Page, PageFlags, Vma

PG_LEFTOVER = "leftover"
CACHE = 1
THE_MAPPING = 1


def without_flag(flags: PageFlags) -> tuple[PageFlags, bool]:
    """test_and_clear_bit()."""
    return flags - {PG_LEFTOVER}, PG_LEFTOVER in flags


async def settle(page: Page, mapping: AddressSpace | None) -> None:
    """Whoever clears the flag lowers the counter, if there still is one."""
    if await page.flags.fetch_update(without_flag) and mapping is not None:
        await mapping.i_mmap_writable.dec()


async def flag_leftovers(_k: Kernel, _mm: Mm, vma: Vma, pages: tuple[Page, ...]) -> None:
    """Flag first and look second: whoever puts the last other reference in between finds the flag."""
    mapping = vma.file.inode.mapping
    for page in pages:
        await mapping.i_mmap_writable.inc()  # safe: this mapping's own count is still there
        if await page.flags.test_and_set(PG_LEFTOVER):
            await mapping.i_mmap_writable.dec()  # an earlier mapping of it counted
        elif await page.refcount.load() - await page.mapcount.load() <= CACHE + THE_MAPPING:
            await settle(page, mapping)


async def put_page(k: Kernel, page: Page) -> None:
    """Drop first and look second: of two who drop at once, the second must not see the first.  Atomics only."""
    left = await page.refcount.add_return(-1)
    if not left:
        await free_page(k, page)
    elif PG_LEFTOVER in await page.flags.load() and left - await page.mapcount.load() <= CACHE:
        await settle(page, await page.mapping.load())


leftover_flag = attrs.evolve(
    linux,
    name="leftover_flag",
    doc=__doc__ or "",
    put_page=put_page,
    before_unmap_writable=flag_leftovers,
    guards=EVERY_PROMISE,
    budget=Budget(
        page_flags=1,
        drops_in_interrupt="lowers i_mmap_writable",
    ),
)
