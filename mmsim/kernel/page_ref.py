"""A page's reference count: refusing too many, freezing it, and waiting while somebody else has it frozen.

Follows include/linux/page_ref.h (page_ref_freeze, page_ref_unfreeze; page_freeze_refs() in v3.17) and, for the limit,
include/linux/mm.h (try_get_page), v5.1.

`_refcount` has 32 bits, and whoever can make the kernel refer to a page as often as he likes can make it wrap: at 2^32
references it seems to have none.  Since v5.1 those who refer on a user's behalf look whether it has grown past INT_MAX
first.  They look and take in two steps, as Linux does: between INT_MAX and the wrap there is room for all who race.

Whoever fails to get a reference to a page that is still where he found it looks again, and in Linux spins.  Here he
waits for `frozen` to be cleared, which no field of Linux has: a loop whose every round finds the same would keep a
schedule that favours it from ever going on.  It is set before the count is 0 and cleared after the count is back.

Not modelled: the same look in memfd_pin_folios(), by which udmabuf takes its pages since v6.11; the lock under which
Linux freezes (i_pages, interrupts off), for nobody who could be kept out takes it.
"""

from __future__ import annotations

from mmsim.cells import Cell
from mmsim.kernel.releases import REFUSES_MANY_REFERENCES
from mmsim.kernel.types import Kernel, Page


def frozen(page: Page) -> Cell[bool]:
    """Whether somebody is about to freeze the count, or has, or is about to have thawed it."""
    return page.cell("frozen", False)


def thawed(value: bool) -> bool:
    """Whether it is worth another look."""
    return not value


async def page_ref_overflows(k: Kernel, page: Page) -> bool:
    """What try_get_page() asks: is the count not positive, so that nobody who can wait for less should add to it?"""
    return k.release.has(REFUSES_MANY_REFERENCES) and await page.refcount.load() <= 0


async def page_ref_freeze(page: Page, expected: int) -> bool:
    """Set the count to 0 if it is `expected`: from here on nobody can get a reference.  Whether it was."""
    await frozen(page).store(True)
    if await page.refcount.cmpxchg(expected, 0):
        return True
    await frozen(page).store(False)
    return False


async def page_ref_unfreeze(page: Page, count: int) -> None:
    """Let others get references again, of which there are `count`."""
    await page.refcount.store(count)
    await frozen(page).store(False)


async def spin_while_frozen(page: Page) -> None:
    """cpu_relax(), for somebody who found a count of 0."""
    await frozen(page).spin_until(thawed)
