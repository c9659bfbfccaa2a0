"""Jan Kara's idea: a mapping counts as writable until the last page pinned through it is given back.

munmap() clears the page table and goes on, but where a page is still pinned for writing it leaves a debt on the page:
one count of i_mmap_writable, to be paid by whoever drops the last such pin.  Nobody waits, and sealing needs only the
counter: EBUSY at once while a debt is open, in doubt no longer than the I/O itself.

Its argument: the debt is published before the pins are looked at, so either munmap() finds no pin, and then no later
one can come through a PTE that is already cleared (get_user_pages_fast() looks at the PTE again after its pin), or the
one who drops the last pin finds the debt.  Whoever takes the debt off the page pays it, once.

It was believed right, and the checker found two gaps in it.  Whoever drops the last pin lowers the count first and
takes the debt later; if the page is pinned again and unmapped in between, he pays a debt that another's pin still owes
(`pinned_again_then_unmapped`).  And munmap() settles with the pages that it finds in the page table: not with one that
madvise(MADV_DONTNEED) had taken out, nor where migration has put an entry in its place for a moment
(`dontneed_hides_a_pin`, `migration_races_munmap`).  In both the counter falls to 0 and the device writes the sealed
file.  And the debt names an address space that may be gone by the time it is paid
(`eviction_with_io_under_way`).  `delayed_unmap_zap` is the repaired form.

The price: a count of pins and a debt (to whom, how much) for each page, one more atomic in get_user_pages_fast() for
writing and one in giving back, every caller that pins for writing must give the pin back by name instead of by
put_page(), and the counter is lowered in interrupts.
"""

from __future__ import annotations

import attrs

from mmsim.cells import Cell
from mmsim.kernel.page_alloc import put_page
from mmsim.kernel.strategy import EVERY_PROMISE, Budget, linux
from mmsim.kernel.types import AddressSpace, Kernel, Mm, Page, Pin, Vma


def write_pins(page: Page) -> Cell[int]:
    """How many pins may still write the page."""
    return page.cell("write_pins", 0)


Debt = tuple[AddressSpace, int]


def owed_drops(page: Page) -> Cell[Debt | None]:
    """Whose i_mmap_writable is to be lowered when the last of them is gone, and by how much.

    The debt names the address space itself: page->mapping is cleared by a truncation, and the debt must not be.
    """
    return page.cell("owed_drops", None)


def one_more(debt: Debt | None, mapping: AddressSpace) -> Debt:
    """The debt, raised by one."""
    return (mapping, debt[1] + 1 if debt else 1)


async def pin(_k: Kernel, pin: Pin) -> bool:
    """A reference, and for a writer a pin that munmap() can tell from other references."""
    if not await pin.page.refcount.inc_not_zero():
        return False
    if pin.write:
        await write_pins(pin.page).inc()
    return True


async def unpin(k: Kernel, pin: Pin) -> None:
    """The last writer pays what is owed.  Atomics only, so it may run in an interrupt."""
    if pin.write and await write_pins(pin.page).dec_and_test():
        await settle(pin.page)
    await put_page(k, pin.page)


async def settle(page: Page) -> None:
    """Take the debt off the page and pay it.  The exchange makes sure that only one of two payers pays."""
    debt = await owed_drops(page).exchange(None)
    if debt is not None:
        mapping, owed = debt
        await mapping.i_mmap_writable.add(-owed)


async def owe_drops(_k: Kernel, _mm: Mm, vma: Vma, pages: tuple[Page, ...]) -> None:
    """Leave a debt on every page of a mapping about to be dropped, and pay at once where nobody has it pinned."""
    mapping = vma.file.inode.mapping
    for page in pages:
        await mapping.i_mmap_writable.inc()  # safe: this mapping's own count is still there
        await owed_drops(page).update(one_more, mapping)
        if not await write_pins(page).load():
            await settle(page)


delayed_unmap = attrs.evolve(
    linux,
    name="delayed_unmap",
    doc=__doc__ or "",
    pin=pin,
    unpin=unpin,
    before_unmap_writable=owe_drops,
    guards=EVERY_PROMISE,
    counts=("write_pins", "owed_drops"),
    budget=Budget(
        struct_page_bytes_32=12,
        struct_page_bytes_64=16,
        callers_to_convert="every caller of get_user_pages() that writes",
        drops_in_interrupt="lowers i_mmap_writable",
    ),
)
