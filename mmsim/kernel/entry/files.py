"""System calls on files.

Not modelled: vectors (readv), because they are the same path in a loop.
"""

from __future__ import annotations

from mmsim.kernel.entry.descriptors import Descriptors
from mmsim.kernel.filemap import generic_file_read
from mmsim.kernel.shmem import generic_perform_write, shmem_chmod, shmem_fallocate, shmem_setattr
from mmsim.syscalls import EBADF, EINVAL, ESPIPE


class FileCalls(Descriptors):
    """Reading, writing, and the size."""

    async def ftruncate(self, fd: int, length: int) -> int:
        if length < 0:
            return -EINVAL
        file = await self._file(fd)
        if file is None:
            return -EBADF
        return -EINVAL if file.f_op else await shmem_setattr(self.k, file.inode, length)

    async def fallocate(self, fd: int, mode: int, offset: int, length: int) -> int:
        file = await self._file(fd)
        if file is None or not file.writable:
            return -EBADF
        return -ESPIPE if file.f_op else await shmem_fallocate(self.k, file.inode, mode, offset, length)

    async def fchmod(self, fd: int, mode: int) -> int:
        file = await self._file(fd)
        return -EBADF if file is None else await shmem_chmod(file.inode, mode)

    async def pread(self, fd: int, length: int, offset: int = 0) -> bytes | int:
        if offset < 0:
            return -EINVAL
        file = await self._file(fd)
        if file is None:
            return -EBADF
        return -ESPIPE if file.f_op else await generic_file_read(self.k, file.inode, offset, length)

    async def read(self, fd: int, length: int) -> bytes | int:
        file = await self._file(fd)
        if file is None:
            return -EBADF
        if file.f_op:
            return await file.f_op.read(self.k, file, length)
        async with file.f_pos_lock:
            position = await file.f_pos.load()
            data = await generic_file_read(self.k, file.inode, position, length)
            await file.f_pos.store(position + len(data))
        return data

    async def pwrite(self, fd: int, data: bytes, offset: int = 0) -> int:
        if offset < 0:
            return -EINVAL
        file = await self._file(fd)
        if file is None:
            return -EBADF
        return -ESPIPE if file.f_op else await generic_perform_write(self.k, file.inode, offset, data)

    async def write(self, fd: int, data: bytes) -> int:
        file = await self._file(fd)
        if file is None:
            return -EBADF
        if file.f_op:
            return await file.f_op.write(self.k, file, data)
        async with file.f_pos_lock:
            position = await file.f_pos.load()
            written = await generic_perform_write(self.k, file.inode, position, data)
            if written > 0:
                await file.f_pos.store(position + written)
        return written
