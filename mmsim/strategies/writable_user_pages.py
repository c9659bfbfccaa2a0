"""David Herrmann's idea: a page pinned for writing is a writer, so it counts in i_mmap_writable like a mapping.

get_writable_user_pages() raises the counter of the page's address space, put_writable_user_pages() lowers it.  A seal
needs nothing but the counter: EBUSY at once while a writer's pin is left, never for a reader's; munmap() is unchanged.

It is right if every way to a pin counts, and counts before the PTE is looked at again: munmap() clears the PTE before
it lowers its own count, so either the second look fails, or the counter has not been 0 since the PTE was seen.

`writable_user_pages_slow` counts only under mmap_lock, to keep the atomics out of get_user_pages_fast().  It is wrong
about every page that is already in the page table, for that is the one which the fast path pins.

`writable_user_pages_lookup` counts everywhere and finds the counter to lower through page->mapping, as a caller must
who holds an array of pages.  Truncation clears that field under a pinned page, the counter is never lowered, and the
file can never be sealed again.

`writable_user_pages` leaves on the page for whose sake it was counted, and how often.  A truncated page may be pinned
uncounted by a fast path that is about to find the PTE cleared; if that one takes another's count off the page, the
counter falls early for a page that is no longer the file's, which harms nobody, and no count is taken twice.

The price: the counter of one file, in the cache line that page cache lookups read, is written by each pin and unpin
of any of its pages on any CPU; an address space must outlive the pins, which nothing here sees to
(`eviction_with_io_under_way`); every caller that pins for writing is converted; the counter is lowered in interrupts.
"""

from __future__ import annotations

import attrs

from mmsim.cells import Cell
from mmsim.kernel.page_alloc import put_page
from mmsim.kernel.strategy import EVERY_PROMISE, Budget, linux
from mmsim.kernel.types import AddressSpace, Kernel, Page, Pin


def counted_pins(page: Page) -> Cell[int]:
    """How many pins of this page are counted in the i_mmap_writable of `counted_for`."""
    return page.cell("counted_pins", 0)


def counted_for(page: Page) -> Cell[AddressSpace | None]:
    """Whose counter that is.  A page belongs to one file until it is free, so it is only ever set to one value."""
    return page.cell("counted_for", None)


def one_less(pins: int) -> tuple[int, bool]:
    """atomic_dec_if_positive(), and whether it was."""
    return max(pins - 1, 0), pins > 0


async def count_writer(k: Kernel, pin: Pin) -> tuple[bool, AddressSpace | None]:
    """A reference, counted if the page is a file's; whether it may be had, and for whom it was counted."""
    if not await pin.page.refcount.inc_not_zero():
        return False, None
    mapping = await pin.page.mapping.load() if pin.write else None
    if mapping is not None and not await mapping.i_mmap_writable.inc_unless_negative():
        # Denied, so no shared mapping is left and the PTE that was seen is gone.  Not so in `dirty_cow`: up to v4.8 a
        # forced write can find a private mapping of the file's page, and will look again for ever.
        await put_page(k, pin.page)
        return False, None
    return True, mapping


async def pin_and_note(k: Kernel, pin: Pin) -> bool:
    """Count the writer, and note it on the page."""
    granted, mapping = await count_writer(k, pin)
    if mapping is not None:
        await counted_for(pin.page).store(mapping)
        await counted_pins(pin.page).inc()
    return granted


async def unpin_as_noted(k: Kernel, pin: Pin) -> None:
    """Take one count off the page and off the counter.  Atomics only, so it may run in an interrupt."""
    if pin.write and await counted_pins(pin.page).fetch_update(one_less):
        mapping = await counted_for(pin.page).load()
        assert mapping is not None, "stored before the count was raised"
        await mapping.i_mmap_writable.dec()
    await put_page(k, pin.page)


async def pin_and_forget(k: Kernel, pin: Pin) -> bool:
    """Count the writer; the page will say for whom."""
    granted, _ = await count_writer(k, pin)
    return granted


async def unpin_by_lookup(k: Kernel, pin: Pin) -> None:
    """Lower the counter of whatever file the page belongs to by now."""
    mapping = await pin.page.mapping.load() if pin.write else None
    if mapping is not None:
        await mapping.i_mmap_writable.dec()
    await put_page(k, pin.page)


async def pin_slow_only(k: Kernel, pin: Pin) -> bool:
    """Count only who holds mmap_lock."""
    return await linux.pin(k, pin) if pin.fast else await pin_and_note(k, pin)


async def unpin_slow_only(k: Kernel, pin: Pin) -> None:
    """A pin that was not counted is a reference."""
    await (linux.unpin if pin.fast else unpin_as_noted)(k, pin)


writable_user_pages = attrs.evolve(
    linux,
    name="writable_user_pages",
    doc=__doc__ or "",
    pin=pin_and_note,
    unpin=unpin_as_noted,
    guards=EVERY_PROMISE,
    counts=("counted_pins",),
    budget=Budget(
        struct_page_bytes_32=8,
        struct_page_bytes_64=16,
        callers_to_convert="every caller of get_user_pages() that writes",
        drops_in_interrupt="lowers i_mmap_writable",
    ),
)

writable_user_pages_slow = attrs.evolve(
    writable_user_pages,
    name="writable_user_pages_slow",
    pin=pin_slow_only,
    unpin=unpin_slow_only,
)

writable_user_pages_lookup = attrs.evolve(
    writable_user_pages,
    name="writable_user_pages_lookup",
    pin=pin_and_forget,
    unpin=unpin_by_lookup,
    counts=(),
    budget=attrs.evolve(
        writable_user_pages.budget,
        struct_page_bytes_32=0,
        struct_page_bytes_64=0,
    ),
)
