"""The end of an inode: its last open file is gone.

Follows fs/inode.c (iput, evict), mm/shmem.c (shmem_evict_inode) and mm/truncate.c (truncate_inode_pages), v3.17.  Every
open file has a reference, as by way of its path in Linux, and every mapping and descriptor one to its open file.  So
nobody maps the file any more, or can open it; but whoever has one of its pages pinned keeps that page, which is no
file's from here on.

Only a scenario that asks for it (`Scenario.evicts`) has its memfds evicted: what else would look at a file that nobody
can reach any more?  Those on a mounted file system have a name, and stay.

Not modelled: i_nlink and unlink(); I_FREEING and those who wait for it, for a memfd cannot be found again.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from mmsim.kernel.paths import learnable
from mmsim.kernel.slab import kmem_cache_free
from mmsim.kernel.truncate import truncate_inode_page
from mmsim.kernel.types import Inode, Kernel
from mmsim.steps import KernelBug
from mmsim.syscalls import PAGE_SIZE


class Gone(Enum):
    """What a counter holds whose object has been freed; whoever counts with it, or looks at it, uses a freed object."""

    GONE = "gone"

    def _use(self, _other: object) -> Any:
        msg = "use of the i_mmap_writable of an inode that was evicted"
        raise KernelBug(msg)

    __add__ = __radd__ = __lt__ = __le__ = __gt__ = __ge__ = _use


GONE: Any = Gone.GONE


async def iget(inode: Inode) -> None:
    """ihold(): one more open file."""
    if inode.sb.evicts:
        await inode.i_count.inc()


async def iput(k: Kernel, inode: Inode) -> None:
    """One less; the last one evicts the inode."""
    if inode.sb.evicts and await inode.i_count.dec_and_test():
        await evict(k, inode)


@learnable
async def evict(k: Kernel, inode: Inode) -> None:
    """Take the pages out of the cache; the i_size of an inode that nobody can reach does not change."""
    size = await inode.i_size.load()
    for index in range(-(-size // PAGE_SIZE)):
        await truncate_inode_page(k, inode.mapping, index)
    await k.strategy.before_evict(k, inode)
    await inode.mapping.i_mmap_writable.store(GONE)
    await kmem_cache_free(inode)


async def inode_init_always(inode: Inode) -> None:
    """Make an inode that was another file's as a new one is."""
    for cell in (inode.i_size, inode.i_flags, inode.i_mode, inode.seals, inode.mapping.i_mmap_writable):
        await cell.store(cell.initial)
