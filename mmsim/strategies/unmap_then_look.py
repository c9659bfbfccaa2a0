"""Unmap first, then look: with no page table left to account for, one count tells whether anybody has a page.

Upstream cannot tell a pin from a mapping but by subtracting one count from another, while both change.  Here a seal
denies writers, and then, for each cached page: lock it; take it out of every page table (what is left are private and
read-only mappings, which fault it in again when they need it); load the reference count, once.  Under the lock no
fault can map it again, so the count is the cache's and the looker's, or somebody else has it.  Every pin that can
write was taken through a mapping that is gone, before it went: it is in the count before the count is loaded, and
stays in it until the device is done.  So no writer is missed.  A reference that comes later can only read.

Nothing is added to get_user_pages(), put_page(), munmap() or struct page, no caller is converted, nothing new runs in
interrupts.  The price is paid in F_ADD_SEALS alone: a page fault for each page that somebody maps privately.

What to do about a page that somebody has is a choice between two:

`unmap_then_wait` waits as upstream does, up to about 150 ms, and then says EBUSY.  It is upstream without the race of
sampling: like it, it takes a reader for a writer.

`unmap_then_replace` refuses nothing and waits for nobody: it puts a copy in the page's place and leaves the page to
its holder.  What a device had transferred by half is sealed by half, while its I/O completes without an error.

None that leaves get_user_pages() alone can do better than one of the two.  All it can know of the holder of a page is
that there is one: a reader or a writer, done in a microsecond or never.  It must wait for him, refuse, or go on without
him; the first two are needless where he reads, and the third tears what he was writing.  To avoid all three is to have
counted the writers as they came, which is what `writable_user_pages`, `split_page_count` and `delayed_unmap_zap` pay
for.  These three, `put_user_pages`, which counts readers too, and `unmap_then_wait` keep all scenarios that some design
keeps, bugs of the past aside, but for two: `client_never_lets_go`, where whoever waits or refuses fails and only who
replaces pages does not, and, where they trust the counter, `unmap_tlb_race`, on a kernel that lowers it too early.
"""

from __future__ import annotations

import attrs

from mmsim.kernel.filemap import find_lock_page, unlock_and_put
from mmsim.kernel.memfd import HZ, LAST_SCAN
from mmsim.kernel.strategy import EVERY_PROMISE, Budget, linux
from mmsim.kernel.swap import lru_add_drain_all
from mmsim.kernel.truncate import unmap_mapping_page
from mmsim.kernel.types import AddressSpace, Kernel, Page
from mmsim.steps import sleep
from mmsim.strategies.looking import pages_in
from mmsim.strategies.replacing import replace_page
from mmsim.syscalls import EBUSY

MINE = 1


async def unmap_and_look(k: Kernel, mapping: AddressSpace, index: int, page: Page) -> bool:
    """Whether anybody but the cache and the caller, who has it locked, has the page."""
    await unmap_mapping_page(k, mapping, index)
    return await page.refcount.load() != page.nr_pages + MINE


async def wait_for_holders(k: Kernel, mapping: AddressSpace) -> int:
    """Look at every page, and again at those that somebody had, after upstream's growing sleeps; then -EBUSY."""
    await lru_add_drain_all(k)  # for pages that only wait in some CPU's cache
    held = tuple(range(await pages_in(k, mapping)))
    for scan in range(LAST_SCAN + 1):
        if scan:
            await sleep((HZ << scan) // 200 * 1_000_000_000 // HZ)
        still: list[int] = []
        for index in held:
            page = await find_lock_page(k, mapping, index)
            if page is not None:
                if await unmap_and_look(k, mapping, index, page):
                    still.append(index)
                await unlock_and_put(k, page)
        held = tuple(still)
        if not held:
            return 0
    return -EBUSY


async def replace_held(k: Kernel, mapping: AddressSpace) -> int:
    """Give the file a copy of every page that somebody has."""
    await lru_add_drain_all(k)
    for index in range(await pages_in(k, mapping)):
        page = await find_lock_page(k, mapping, index)
        if page is not None:
            if await unmap_and_look(k, mapping, index, page):
                await replace_page(k, mapping, index, page)
            await unlock_and_put(k, page)
    return 0


unmap_then_wait = attrs.evolve(
    linux,
    name="unmap_then_wait",
    doc=__doc__ or "",
    exclude_pins=wait_for_holders,
    guards=EVERY_PROMISE,
    budget=Budget(who_waits="F_ADD_SEALS, up to 150 ms, with i_mutex held"),
)

unmap_then_replace = attrs.evolve(
    linux,
    name="unmap_then_replace",
    doc=__doc__ or "",
    exclude_pins=replace_held,
    guards=EVERY_PROMISE,
    budget=Budget(bytes_copied="every page that somebody else has"),
)
