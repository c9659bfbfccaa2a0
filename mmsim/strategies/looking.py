"""What several designs do before the promise is made: go over every cached page of the file.

i_mutex is held and writers are denied: no page leaves the cache, and one that is added there can only be read.  So one
pass is enough, and a page needs no reference to be looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from mmsim.kernel.memfd import inode_of
from mmsim.kernel.paths import Path
from mmsim.kernel.types import AddressSpace, Kernel, Page
from mmsim.syscalls import EBUSY, PAGE_SIZE

Look = Callable[[Page], Coroutine[Any, Any, bool]]


async def pages_in(k: Kernel, mapping: AddressSpace) -> int:
    """How many pages the file has, cached or not."""
    return -(-await inode_of(k, mapping).i_size.load() // PAGE_SIZE)


def refuse_where(held: Look) -> Path:
    """An `exclude_pins`: -EBUSY at once where `held` says so of some cached page."""

    async def refuse(k: Kernel, mapping: AddressSpace) -> int:
        for index in range(await pages_in(k, mapping)):
            page = await mapping.slot(index).load()
            if page is not None and await held(page):
                return -EBUSY
        return 0

    return refuse
