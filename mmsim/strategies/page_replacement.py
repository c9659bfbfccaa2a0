"""Hugh Dickins' idea: pages that look pinned when the seal is asked for are replaced by copies, and nobody waits.

Writers are denied first.  Then every cached page is tested as upstream does, with one load of the reference count and
one of the map count; where they do not add up, a copy takes the page's place in the cache, every page table that
still shows the page is cleared, so that it faults the copy in, and the device keeps a page that is nobody's.

It claims that no seal is refused or delayed for the sake of a pin, be it a reader's or a writer's, and that munmap(),
get_user_pages() and struct page stay as they are.  Two objections stand.  The test samples two counts: a mapping that
comes or goes between the loads hides the pin, the page is not replaced, and the device writes the sealed file.  And
what a device has half transferred is frozen half transferred, in a file whose I/O then completes without an error.
"""

from __future__ import annotations

import attrs

from mmsim.kernel.memfd import has_extra_refs
from mmsim.kernel.strategy import EVERY_PROMISE, Budget, linux
from mmsim.kernel.swap import lru_add_drain_all
from mmsim.kernel.types import AddressSpace, Kernel
from mmsim.strategies.looking import pages_in
from mmsim.strategies.replacing import unmap_and_replace


async def replace_pinned(k: Kernel, mapping: AddressSpace) -> int:
    """Replace every cached page that looks pinned."""
    await lru_add_drain_all(k)  # or a page that only waits in some CPU's cache would be copied
    for index in range(await pages_in(k, mapping)):
        page = await mapping.slot(index).load()
        if page is not None and await has_extra_refs(k, page):
            await unmap_and_replace(k, mapping, index)
    return 0


page_replacement = attrs.evolve(
    linux,
    name="page_replacement",
    doc=__doc__ or "",
    exclude_pins=replace_pinned,
    guards=EVERY_PROMISE,
    budget=Budget(bytes_copied="every page that looks pinned"),
)
