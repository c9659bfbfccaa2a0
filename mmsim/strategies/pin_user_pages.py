"""What upstream has of put_user_pages() since v5.7: a pin is 1024 references, so a page says whether it may be pinned.

pin_user_pages() adds GUP_PIN_COUNTING_BIAS to the reference count where get_user_pages() adds 1, and unpin_user_page()
takes as much off; struct page does not grow and no path has one atomic more.  Writers are denied, then a seal asks
folio_maybe_dma_pinned() of every cached page: at least 1024 references?  EBUSY at once where the answer is yes.

One count, loaded once: no sampling race.  A page with 1024 ordinary references, mapped by 1023 processes, refuses every
seal though nobody has it pinned.  A caller that still uses get_user_pages() adds 1 and is not seen at all, so the
device it hands the page to writes the sealed file: NFS to this day.  The callers taken for converted here are those of
v6.12, on whichever release the design is tried; vmsplice and ptrace are not among them, and do no harm by it.

Linux asks this question in fork() and in writeback; sealing itself still looks at all references.
"""

from __future__ import annotations

import attrs

from mmsim.cells import wrapped
from mmsim.kernel.gup import FOLL_PIN_SINCE
from mmsim.kernel.page_alloc import put_page
from mmsim.kernel.strategy import EVERY_PROMISE, Budget, linux
from mmsim.kernel.types import Kernel, Page, Pin
from mmsim.strategies.looking import refuse_where

GUP_PIN_COUNTING_BIAS = 1024


def foll_pin(pin: Pin) -> bool:
    """Whether this caller asks for FOLL_PIN by now, whatever it did in the release that is modelled."""
    return pin.caller in FOLL_PIN_SINCE


def references(pin: Pin) -> int:
    """What it adds to the reference count."""
    return GUP_PIN_COUNTING_BIAS if foll_pin(pin) else 1


def biased(references: int) -> tuple[int, bool]:
    """page_ref_add_unless_zero() of the bias."""
    return (wrapped(references + GUP_PIN_COUNTING_BIAS), True) if references else (references, False)


async def try_grab_page(_k: Kernel, pin: Pin) -> bool:
    """As many references as the caller's flag asks for."""
    if foll_pin(pin):
        return bool(await pin.page.refcount.fetch_update(biased))
    return await pin.page.refcount.inc_not_zero()


async def unpin_user_page(k: Kernel, pin: Pin) -> None:
    """As many back.  All but the last at once, which keep nobody from freeing the page."""
    if foll_pin(pin):
        await pin.page.refcount.add(1 - GUP_PIN_COUNTING_BIAS)
    await put_page(k, pin.page)


async def maybe_dma_pinned(page: Page) -> bool:
    """folio_maybe_dma_pinned()."""
    return await page.refcount.load() >= GUP_PIN_COUNTING_BIAS


pin_user_pages = attrs.evolve(
    linux,
    name="pin_user_pages",
    doc=__doc__ or "",
    pin=try_grab_page,
    unpin=unpin_user_page,
    references=references,
    exclude_pins=refuse_where(maybe_dma_pinned),
    guards=EVERY_PROMISE,
    budget=Budget(callers_to_convert="every caller of get_user_pages()"),
)
