"""Delayed unmap, in two other orders.

`delayed_unmap_look_first` looks whether a page is pinned, and only then publishes what is owed for it.  The last pin
may be dropped in between: nobody finds the debt, the counter never falls, and the file can never be sealed again.

`delayed_unmap_sync` owes nothing.  munmap() waits, after the page tables are cleared and before the counter falls,
until the last pin that may write is gone.  A later pin cannot come, for gup looks at the PTE again; so the counter is
exact, no interrupt touches it, and no debt is kept on a page.  But munmap(), and with it exit() and the mmap_lock that
it holds, wait for a device, which may be silent for ever.  And it waits only for the pages that it finds in the page
table, which are not all (see delayed_unmap).
"""

from __future__ import annotations

import attrs

from mmsim.kernel.page_alloc import put_page
from mmsim.kernel.strategy import Budget
from mmsim.kernel.types import Kernel, Mm, Page, Pin, Vma
from mmsim.strategies.delayed_unmap import delayed_unmap, one_more, owed_drops, write_pins


async def owe_what_was_seen_pinned(_k: Kernel, _mm: Mm, vma: Vma, pages: tuple[Page, ...]) -> None:
    """Leave a debt on every page that is pinned at first sight."""
    mapping = vma.file.inode.mapping
    for page in pages:
        if await write_pins(page).load():
            await mapping.i_mmap_writable.inc()
            await owed_drops(page).update(one_more, mapping)


def unpinned(pins: int) -> bool:
    """Whether no pin may write any more."""
    return not pins


async def wait_for_writers(_k: Kernel, _mm: Mm, _vma: Vma, pages: tuple[Page, ...]) -> None:
    """Wait for every pin that may write to go."""
    for page in pages:
        await write_pins(page).wait_until(unpinned)


async def unpin(k: Kernel, pin: Pin) -> None:
    """Wake who waits for the last writer, by the count itself."""
    if pin.write:
        await write_pins(pin.page).dec()
    await put_page(k, pin.page)


delayed_unmap_look_first = attrs.evolve(
    delayed_unmap,
    name="delayed_unmap_look_first",
    doc=__doc__ or "",
    before_unmap_writable=owe_what_was_seen_pinned,
)

delayed_unmap_sync = attrs.evolve(
    delayed_unmap,
    name="delayed_unmap_sync",
    doc=__doc__ or "",
    unpin=unpin,
    before_unmap_writable=wait_for_writers,
    counts=("write_pins",),
    budget=Budget(
        struct_page_bytes_32=4,
        struct_page_bytes_64=8,
        callers_to_convert="every caller of get_user_pages() that writes",
        drops_in_interrupt="wakes whoever waits in munmap()",
        who_waits="munmap() and exit(), for a device, with mmap_lock held",
    ),
)
