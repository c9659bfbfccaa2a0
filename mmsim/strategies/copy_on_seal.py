"""The price of certainty: a seal copies every page of the file, whoever holds it.

As page replacement, but without a test, and so without a test that could be wrong.  Writers are denied, then each
cached page is locked, unmapped, and replaced by a copy that nobody but the cache has a reference to.  Nobody waits,
nothing is refused, and no race is left.  A seal costs as much as a copy of the file, whether anything was pinned or
not, and as much memory until the old pages' holders let go; what was half transferred is frozen so.
"""

from __future__ import annotations

import attrs

from mmsim.kernel.strategy import EVERY_PROMISE, Budget, linux
from mmsim.kernel.types import AddressSpace, Kernel
from mmsim.strategies.looking import pages_in
from mmsim.strategies.replacing import unmap_and_replace


async def replace_all(k: Kernel, mapping: AddressSpace) -> int:
    """Replace every cached page."""
    for index in range(await pages_in(k, mapping)):
        await unmap_and_replace(k, mapping, index)
    return 0


copy_on_seal = attrs.evolve(
    linux,
    name="copy_on_seal",
    doc=__doc__ or "",
    exclude_pins=replace_all,
    guards=EVERY_PROMISE,
    budget=Budget(bytes_copied="every page of the file"),
)
