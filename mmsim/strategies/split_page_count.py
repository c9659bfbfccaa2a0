"""A read count and a write count in each page, in place of one: a seal asks only the write count.

Every reference says whether its holder may write, and a holder that may is counted twice: in the count that keeps the
page from being freed, and in the count of writers.  Writers by mapping are denied; then EBUSY at once where a cached
page has a writer left, and never for a reader's sake: the device that a page is written to, a lookup, a pipe.

It is right for the reason that put_user_pages is: the writer is counted before the PTE is looked at again.  There is no
race of sampling, for one count is loaded once.

The price: a second count in struct page, one more atomic for each pin that writes, and every caller that gives a page
back has to know which of the two it holds, not only those of get_user_pages().
"""

from __future__ import annotations

import attrs

from mmsim.cells import Cell
from mmsim.kernel.page_alloc import put_page
from mmsim.kernel.strategy import EVERY_PROMISE, Budget, linux
from mmsim.kernel.types import Kernel, Page, Pin
from mmsim.strategies.looking import refuse_where


def writers(page: Page) -> Cell[int]:
    """How many of the page's references may write it."""
    return page.cell("_writecount", 0)


async def pin(_k: Kernel, pin: Pin) -> bool:
    """A reference of either kind."""
    if not await pin.page.refcount.inc_not_zero():
        return False
    if pin.write:
        await writers(pin.page).inc()
    return True


async def unpin(k: Kernel, pin: Pin) -> None:
    """Give it back.  The writer first: after the reference the page may be free."""
    if pin.write:
        await writers(pin.page).dec()
    await put_page(k, pin.page)


async def has_writers(page: Page) -> bool:
    """Whether anybody may still write it."""
    return await writers(page).load() > 0


split_page_count = attrs.evolve(
    linux,
    name="split_page_count",
    doc=__doc__ or "",
    pin=pin,
    unpin=unpin,
    exclude_pins=refuse_where(has_writers),
    guards=EVERY_PROMISE,
    counts=("_writecount",),
    budget=Budget(
        struct_page_bytes_32=4,
        struct_page_bytes_64=8,
        callers_to_convert="everybody who gives a page back",
    ),
)
