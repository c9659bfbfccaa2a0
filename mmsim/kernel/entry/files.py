"""System calls on files.

Not modelled: vectors (readv), because they are the same path in a loop.
"""

from __future__ import annotations

from mmsim.kernel.entry.descriptors import Descriptors
from mmsim.kernel.read_write import fallocate, fchmod, ftruncate, read, vfs_read, vfs_write, write
from mmsim.syscalls import EINVAL


class FileCalls(Descriptors):
    """Reading, writing, and the size."""

    async def ftruncate(self, fd: int, length: int) -> int:
        return -EINVAL if length < 0 else await self._on(fd, ftruncate, length)

    async def fallocate(self, fd: int, mode: int, offset: int, length: int) -> int:
        return await self._on(fd, fallocate, mode, offset, length)

    async def fchmod(self, fd: int, mode: int) -> int:
        return await self._on(fd, fchmod, mode)

    async def pread(self, fd: int, length: int, offset: int = 0) -> bytes | int:
        return -EINVAL if offset < 0 else await self._on(fd, vfs_read, offset, length)

    async def read(self, fd: int, length: int) -> bytes | int:
        return await self._on(fd, read, length)

    async def pwrite(self, fd: int, data: bytes, offset: int = 0) -> int:
        return -EINVAL if offset < 0 else await self._on(fd, vfs_write, offset, data)

    async def write(self, fd: int, data: bytes) -> int:
        return await self._on(fd, write, data)
