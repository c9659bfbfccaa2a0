"""memfds and sealing.

Not modelled: the sysctl vm.memfd_noexec, which changes defaults and no path.
"""

from __future__ import annotations

from mmsim.kernel.entry.descriptors import Descriptors
from mmsim.kernel.file_table import alloc_file
from mmsim.kernel.memfd import memfd_add_seals, memfd_create, memfd_get_seals
from mmsim.kernel.udmabuf import udmabuf_create


class SealCalls(Descriptors):
    """memfd_create() and its seals."""

    async def memfd_create(self, name: str, flags: int = 0) -> int:
        file = await memfd_create(self.k, name, flags)
        return file if isinstance(file, int) else await self._install(await alloc_file(file))

    async def add_seals(self, fd: int, seals: int) -> int:
        return await self._on(fd, memfd_add_seals, seals)

    async def get_seals(self, fd: int) -> int:
        return await self._on(fd, memfd_get_seals)

    async def udmabuf_create(self, fd: int, offset: int, length: int) -> int:
        memfd = await self._fdget(fd)
        buffer = await udmabuf_create(self.k, memfd, offset, length)
        if memfd is not None:
            await self._fdput(memfd)
        return buffer if isinstance(buffer, int) else await self._install(buffer)
