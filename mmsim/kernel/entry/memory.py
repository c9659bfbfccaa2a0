"""System calls on memory, and the CPU's own loads and stores.

Not modelled: anonymous mappings, because nothing here is about them.
"""

from __future__ import annotations

import signal

from mmsim.kernel.entry.descriptors import Descriptors
from mmsim.kernel.memory import load_memory, store_memory
from mmsim.kernel.mmap import do_mmap, do_munmap
from mmsim.syscalls import EINVAL, PAGE_SIZE


class MemoryCalls(Descriptors):
    """Mapping, and what the CPU does by itself."""

    async def mmap(self, fd: int, prot: int, flags: int, length: int = PAGE_SIZE, offset: int = 0) -> int:
        if offset % PAGE_SIZE:
            return -EINVAL  # before the descriptor is looked at, in the architecture's sys_mmap()
        return await self._on(fd, do_mmap, prot, flags, length, offset)

    async def munmap(self, address: int, length: int = PAGE_SIZE) -> int:
        return await do_munmap(self.k, address, length)

    async def load(self, address: int, length: int = PAGE_SIZE) -> bytes | signal.Signals:
        return await load_memory(self.k, address, length)

    async def store(self, address: int, data: bytes) -> signal.Signals | None:
        return await store_memory(self.k, address, data)
