"""memfds and sealing.

Not modelled: the sysctl vm.memfd_noexec, which changes defaults and no path.
"""

from __future__ import annotations

from mmsim.kernel.entry.descriptors import Descriptors
from mmsim.kernel.memfd import memfd_add_seals, memfd_create, memfd_get_seals
from mmsim.kernel.udmabuf import udmabuf_create
from mmsim.syscalls import EBADF, EINVAL, EPERM


class SealCalls(Descriptors):
    """memfd_create() and its seals."""

    async def memfd_create(self, name: str, flags: int = 0) -> int:
        file = await memfd_create(self.k, name, flags)
        return file if isinstance(file, int) else await self._install(file)

    async def add_seals(self, fd: int, seals: int) -> int:
        file = await self._file(fd)
        if file is None:
            return -EBADF
        if file.f_op:
            return -EINVAL if file.writable else -EPERM
        return await memfd_add_seals(self.k, file, seals)

    async def get_seals(self, fd: int) -> int:
        file = await self._file(fd)
        if file is None:
            return -EBADF
        return -EINVAL if file.f_op else await memfd_get_seals(file)

    async def udmabuf_create(self, fd: int, offset: int, length: int) -> int:
        buffer = await udmabuf_create(self.k, await self._file(fd), offset, length)
        return buffer if isinstance(buffer, int) else await self._install(buffer)
