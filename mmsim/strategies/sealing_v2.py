"""The memfd patchset as posted in April 2014 (v2): sealing looks at i_mmap_writable and at nothing else.

The counter is the plain integer of 2014 under i_mmap_mutex.  A mapping checks the seal and counts itself in one
critical section, sealing checks the counter and publishes the seal in one, so the two cannot miss each other: against
a racing mmap it is right.  It is wrong about everything that outlives a mapping: a direct I/O keeps its pages through
munmap, the counter falls to 0, the seal is granted, and then the device writes.  It is the control that must fail.

The text of v2 itself could not be read; this is the design as the mail of 19 May 2014 describes it.
"""

from __future__ import annotations

import attrs

from mmsim.kernel.strategy import linux
from mmsim.kernel.types import AddressSpace, Inode, Kernel
from mmsim.syscalls import EBUSY, EPERM, F_SEAL_WRITE


async def map_writable(_k: Kernel, inode: Inode) -> int:
    """Check the seal and count the mapping under one lock."""
    async with inode.mapping.i_mmap_mutex:
        if await inode.seals.load() & F_SEAL_WRITE:
            return -EPERM
        await inode.mapping.i_mmap_writable.inc()
    return 0


async def unmap_writable(_k: Kernel, mapping: AddressSpace) -> None:
    """`i_mmap_writable--`, under the lock that makes it safe."""
    async with mapping.i_mmap_mutex:
        await mapping.i_mmap_writable.dec()


async def deny_writable(_k: Kernel, inode: Inode) -> int:
    """Check the counter and publish the seal under one lock."""
    async with inode.mapping.i_mmap_mutex:
        if await inode.mapping.i_mmap_writable.load() > 0:
            return -EBUSY
        await inode.seals.update(sealed)
    return 0


def sealed(seals: int) -> int:
    """The seals with F_SEAL_WRITE among them."""
    return seals | F_SEAL_WRITE


async def allow_writable(_k: Kernel, _inode: Inode) -> None:
    """Nothing to undo: what follows deny_writable() cannot fail."""


sealing_v2 = attrs.evolve(
    linux,
    name="sealing_v2",
    doc=__doc__ or "",
    map_writable=map_writable,
    unmap_writable=unmap_writable,
    deny_writable=deny_writable,
    allow_writable=allow_writable,
)
