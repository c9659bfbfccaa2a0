"""Descriptors, reading, writing, and the size."""

from __future__ import annotations

from mmsim.conformance import native
from mmsim.conformance.real import Calls, own


class FileCalls(Calls):
    """System calls on files."""

    async def ftruncate(self, fd: int, length: int) -> int:
        """ftruncate(2)."""
        return self.call(native.SYS_FTRUNCATE, own(fd), length)

    async def fallocate(self, fd: int, mode: int, offset: int, length: int) -> int:
        """fallocate(2)."""
        return self.call(native.SYS_FALLOCATE, own(fd), mode, offset, length)

    async def fchmod(self, fd: int, mode: int) -> int:
        """fchmod(2)."""
        return self.call(native.SYS_FCHMOD, own(fd), mode)

    async def read(self, fd: int, length: int) -> bytes | int:
        """read(2)."""
        return self.fill(native.SYS_READ, own(fd), length)

    async def pread(self, fd: int, length: int, offset: int = 0) -> bytes | int:
        """pread(2)."""
        return self.fill(native.SYS_PREAD64, own(fd), length, offset)

    async def write(self, fd: int, data: bytes) -> int:
        """write(2)."""
        return self.drain(native.SYS_WRITE, own(fd), data)

    async def pwrite(self, fd: int, data: bytes, offset: int = 0) -> int:
        """pwrite(2)."""
        return self.drain(native.SYS_PWRITE64, own(fd), data, offset)

    async def close(self, fd: int) -> int:
        """close(2), of the scenario's own descriptors."""
        return self.call(native.SYS_CLOSE, own(fd))

    async def dup(self, fd: int) -> int:
        """dup(2)."""
        return self.call(native.SYS_DUP, own(fd))
