"""memfds and sealing."""

from __future__ import annotations

import ctypes
import struct

from mmsim.conformance import native
from mmsim.conformance.real import Calls, own


class SealCalls(Calls):
    """memfd_create() and its seals."""

    async def memfd_create(self, name: str, flags: int = 0) -> int:
        """memfd_create(2)."""
        text = ctypes.create_string_buffer(name.encode())
        return self.call(native.SYS_MEMFD_CREATE, native.address_of(text), flags)

    async def add_seals(self, fd: int, seals: int) -> int:
        """fcntl(F_ADD_SEALS)."""
        return self.call(native.SYS_FCNTL, own(fd), native.F_ADD_SEALS, seals)

    async def get_seals(self, fd: int) -> int:
        """fcntl(F_GET_SEALS)."""
        return self.call(native.SYS_FCNTL, own(fd), native.F_GET_SEALS)

    async def udmabuf_create(self, fd: int, offset: int, length: int) -> int:
        """UDMABUF_CREATE."""
        self.begin()
        asked = struct.pack("=IIQQ", own(fd) & 0xFFFFFFFF, 0, offset, length)
        return native.ioctl(self.host.resources.udmabuf, native.UDMABUF_CREATE, asked)[0]
