"""Delayed unmap, repaired: pins and debt are one word, and whoever takes a page out of a page table leaves a debt.

As delayed_unmap, but for what the checker found in it:

The number of pins and the debt are halves of one word, changed by one atomic.  A debt is left only where there is a
pin, and taken by the very operation that takes off the last; in delayed_unmap there is a moment in between, and in that
moment the page can be pinned and unmapped again, whose debt is then paid for a pin that is still there
(`pinned_again_then_unmapped`).

madvise(MADV_DONTNEED) and migration leave debts as munmap() does.  Else they take the page out of the page table
unseen, and munmap() finds no page to leave a debt on.  The mapping is still there and counts, so the counter may rise.

The debt is the file's, so the file must be there to be paid: its eviction waits until nothing is owed.  delayed_unmap
pays to an inode that is no more (`eviction_with_io_under_way`).  A reference to the inode, held by the debt, would keep
nobody waiting, but could not be dropped in an interrupt.

Who pins without any page table, as udmabuf does, leaves the debt with the pin, and is refused where writers are denied.

It is right because a pin that was taken through a page table keeps a debt on its page from the moment the page leaves
that table, whoever takes it out, to its own end; until then the mapping counts.  Moving a PTE (mremap()) takes no page
out, and truncation needs no debt: its page leaves the file as well.

The price is that of delayed_unmap with one atomic less in munmap() and in giving back, but to be paid in madvise() and
in migration too; every caller that pins for writing must give the pin back by name; and the last close(), munmap() or
exit() of a file waits for the I/O into pages that were unmapped.
"""

from __future__ import annotations

import attrs

from mmsim.cells import Cell
from mmsim.kernel.page_alloc import put_page
from mmsim.kernel.strategy import EVERY_PROMISE, linux
from mmsim.kernel.types import AddressSpace, Caller, Inode, Kernel, Mm, Page, Pin, Vma
from mmsim.strategies.delayed_unmap import delayed_unmap

THROUGH_NO_PAGE_TABLE = frozenset({Caller.UDMABUF})


@attrs.frozen
class Account:
    """One atomic word."""

    pins: int = 0
    """How many pins may still write the page."""
    owed: int = 0
    """By how much i_mmap_writable is to be lowered when the last of them is gone."""


def account(page: Page) -> Cell[Account]:
    """Of the pins of a page."""
    return page.cell("write_pins", Account())


def owed_to(page: Page) -> Cell[AddressSpace | None]:
    """Whose i_mmap_writable it is.  A page belongs to one file until it is free: it is only ever set to one value."""
    return page.cell("owed_to", None)


def one_pin(old: Account, owed: int) -> Account:
    """One pin more, with what is owed for it from the beginning."""
    return Account(old.pins + 1, old.owed + owed)


def without_pin(old: Account) -> tuple[Account, int]:
    """One pin less, and what is to be paid: all of it with the last, else nothing."""
    return (Account(old.pins - 1, old.owed), 0) if old.pins > 1 else (Account(), old.owed)


def one_debt(old: Account) -> tuple[Account, bool]:
    """One debt more if there is a pin, and whether there is."""
    return (Account(old.pins, old.owed + 1), True) if old.pins else (old, False)


async def pin(_k: Kernel, pin: Pin) -> bool:
    """A reference, and for a writer a pin that can be told from other references."""
    mapping = None
    if pin.caller in THROUGH_NO_PAGE_TABLE:
        mapping = await pin.page.mapping.load()
        if mapping is not None and not await mapping.i_mmap_writable.inc_unless_negative():
            return False
    if not await pin.page.refcount.inc_not_zero():
        if mapping is not None:
            await mapping.i_mmap_writable.dec()
        return False
    if mapping is not None:
        await owed_to(pin.page).store(mapping)
    if pin.write:
        await account(pin.page).update(one_pin, int(mapping is not None))
    return True


async def unpin(k: Kernel, pin: Pin) -> None:
    """The last writer pays what is owed.  Atomics only, so it may run in an interrupt."""
    owed = await account(pin.page).fetch_update(without_pin) if pin.write else 0
    if owed:
        mapping = await owed_to(pin.page).load()
        assert mapping is not None, "stored before anything was owed"
        await mapping.i_mmap_writable.add(-owed)
    await put_page(k, pin.page)


async def owe(_k: Kernel, _mm: Mm, vma: Vma, pages: tuple[Page, ...]) -> None:
    """Leave a debt on every page that was taken out of the page table of a counted mapping and is pinned."""
    mapping = vma.file.inode.mapping
    for page in pages:
        # Before the debt is left: whoever drops the last pin may pay it at once.  This mapping's own count is there.
        await mapping.i_mmap_writable.inc()
        await owed_to(page).store(mapping)
        if not await account(page).fetch_update(one_debt):
            await mapping.i_mmap_writable.dec()


async def wait_for_debtors(_k: Kernel, inode: Inode) -> None:
    """Nobody maps the file any more, so what is left in its counter is owed; it must be there to be lowered."""
    await inode.mapping.i_mmap_writable.wait_until(nothing_is_owed)


def nothing_is_owed(count: int) -> bool:
    """Whether all has been paid; below 0 writers are denied."""
    return count <= 0


delayed_unmap_zap = attrs.evolve(
    linux,
    name="delayed_unmap_zap",
    doc=__doc__ or "",
    pin=pin,
    unpin=unpin,
    before_unmap_writable=owe,
    after_zap_writable=owe,
    before_evict=wait_for_debtors,
    guards=EVERY_PROMISE,
    counts=("write_pins",),
    budget=delayed_unmap.budget,
)
