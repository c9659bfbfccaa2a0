"""put_user_pages(): what get_user_pages() took is given back by name, so that it can be told from other references.

Each page has a count of its pins beside the count of its references.  Writers are denied, then every cached page is
asked for its pins; EBUSY at once where it has one.  One count, loaded once: there is no sampling race, and a lookup or
a mapping that comes and goes refuses nothing.

It is right because a pin is counted before the PTE is looked at again, and so before a mapping that could have given
it is gone and the counter has fallen.  A device that only reads a page still refuses the seal.

The price is a word in struct page, one more atomic in get_user_pages() and in every unpin, and the conversion of every
caller: dozens, in as many subsystems.  Whoever goes on with put_page() leaves a pin that nobody ever takes off the
page, and the file can never be sealed again; `put_user_pages_unconverted` shows it with the callers that Linux has not
converted to this day.
"""

from __future__ import annotations

from collections.abc import Collection

import attrs

from mmsim.cells import Cell
from mmsim.kernel.page_alloc import put_page
from mmsim.kernel.paths import Path
from mmsim.kernel.strategy import EVERY_PROMISE, Budget, Strategy, linux
from mmsim.kernel.types import Caller, Kernel, Page, Pin
from mmsim.strategies.looking import refuse_where


def user_pins(page: Page) -> Cell[int]:
    """How many pins get_user_pages() took and put_user_pages() did not give back."""
    return page.cell("user_pins", 0)


async def pin(_k: Kernel, pin: Pin) -> bool:
    """A reference, and a pin that can be told from other references."""
    if not await pin.page.refcount.inc_not_zero():
        return False
    await user_pins(pin.page).inc()
    return True


async def put_user_page(k: Kernel, pin: Pin) -> None:
    """Give both back.  The pin first: after the reference the page may be free."""
    await user_pins(pin.page).dec()
    await put_page(k, pin.page)


async def is_pinned(page: Page) -> bool:
    """Whether any pin is left."""
    return await user_pins(page).load() > 0


put_user_pages = attrs.evolve(
    linux,
    name="put_user_pages",
    doc=__doc__ or "",
    pin=pin,
    unpin=put_user_page,
    exclude_pins=refuse_where(is_pinned),
    guards=EVERY_PROMISE,
    counts=("user_pins",),
    budget=Budget(
        struct_page_bytes_32=4,
        struct_page_bytes_64=8,
        callers_to_convert="every caller of get_user_pages()",
    ),
)


def without(*unconverted: Caller, name: str = "put_user_pages_unconverted") -> Strategy:
    """The same kernel, where these callers still give their pages back by put_page()."""
    return attrs.evolve(put_user_pages, name=name, unpin=put_by(unconverted))


def put_by(unconverted: Collection[Caller]) -> Path:
    """An `unpin` in which these callers do not know of the pin they hold."""
    callers = frozenset(unconverted)

    async def put(k: Kernel, pin: Pin) -> None:
        if pin.caller in callers:
            await put_page(k, pin.page)
        else:
            await put_user_page(k, pin)

    return put


put_user_pages_unconverted = without(Caller.NFS_DIRECT, Caller.VMSPLICE)
