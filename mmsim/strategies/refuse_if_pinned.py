"""The least that could be done: EBUSY at once if any cached page has a reference that no mapping accounts for.

It is what Linux does without the waiting.  It claims that F_ADD_SEALS never sleeps and that nothing is added anywhere.
It refuses for the sake of readers, of lookups that are over in a moment and of I/O that ends in a microsecond, and it
has upstream's sampling race: the two counts are loaded one after the other.
"""

from __future__ import annotations

import attrs

from mmsim.kernel.memfd import memfd_tag_pins
from mmsim.kernel.strategy import EVERY_PROMISE, linux
from mmsim.kernel.types import AddressSpace, Kernel
from mmsim.strategies.looking import pages_in
from mmsim.syscalls import EBUSY


async def refuse_pinned(k: Kernel, mapping: AddressSpace) -> int:
    """-EBUSY where any cached page looks pinned."""
    return -EBUSY if await memfd_tag_pins(k, mapping, await pages_in(k, mapping)) else 0


refuse_if_pinned = attrs.evolve(
    linux, name="refuse_if_pinned", doc=__doc__ or "", exclude_pins=refuse_pinned, guards=EVERY_PROMISE
)
