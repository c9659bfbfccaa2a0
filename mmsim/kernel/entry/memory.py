"""System calls on memory, and the CPU's own loads and stores.

Not modelled: MAP_ANONYMOUS, because a private mapping of /dev/zero is the same.
"""

from __future__ import annotations

import signal

from mmsim.kernel.entry.descriptors import Descriptors
from mmsim.kernel.file_table import alloc_file
from mmsim.kernel.madvise import do_madvise
from mmsim.kernel.mem import open_zero
from mmsim.kernel.memory import load_memory, store_memory
from mmsim.kernel.mmap import do_mmap, do_munmap
from mmsim.kernel.mprotect import mprotect
from mmsim.kernel.mremap import mremap
from mmsim.syscalls import EINVAL, PAGE_SIZE


class MemoryCalls(Descriptors):
    """Mapping, and what the CPU does by itself."""

    async def mmap(
        self, fd: int, prot: int, flags: int, length: int = PAGE_SIZE, offset: int = 0, address: int = 0
    ) -> int:
        if offset % PAGE_SIZE:
            return -EINVAL  # before the descriptor is looked at, in the architecture's sys_mmap()
        return await self._on(fd, do_mmap, prot, flags, length, offset, address)

    async def dev_zero(self) -> int:
        return await self._install(await alloc_file(await open_zero(self.k)))

    async def munmap(self, address: int, length: int = PAGE_SIZE) -> int:
        return await do_munmap(self.k, address, length)

    async def madvise(self, address: int, length: int, advice: int) -> int:
        return await do_madvise(self.k, address, length, advice)

    async def mprotect(self, address: int, length: int, prot: int) -> int:
        return await mprotect(self.k, address, length, prot)

    async def mremap(self, address: int, old_length: int, new_length: int, flags: int = 0, to: int = 0) -> int:
        return await mremap(self.k, address, old_length, new_length, flags, to)

    async def load(self, address: int, length: int = PAGE_SIZE) -> bytes | signal.Signals:
        return await load_memory(self.k, address, length)

    async def store(self, address: int, data: bytes) -> signal.Signals | None:
        return await store_memory(self.k, address, data)
