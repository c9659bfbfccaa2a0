"""Files on mounts, remounting and file flags."""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING

from mmsim.conformance import native
from mmsim.conformance.real import Calls, own
from mmsim.syscalls import FS_IMMUTABLE_FL

if TYPE_CHECKING:
    from mmsim.syscalls import Mount

LONG = 8
MODE = 0o600


class MountCalls(Calls):
    """open() by name or by descriptor, and who forbids it."""

    async def open(self, mount: Mount, name: str, flags: int) -> int:
        """open(2)."""
        return self._open(self.host.path(mount, name), flags)

    async def reopen(self, fd: int, flags: int) -> int:
        """open(2) of /proc/self/fd/N."""
        return self._open(f"/proc/self/fd/{own(fd)}", flags)

    async def remount(self, mount: Mount, flags: int) -> int:
        """mount(2) with MS_REMOUNT."""
        target = ctypes.create_string_buffer(self.host.directory(mount).encode())
        flags |= native.MS_REMOUNT | native.MS_NOSUID | native.MS_NODEV
        return self.call(native.SYS_MOUNT, 0, native.address_of(target), 0, flags, 0)

    async def chattr(self, fd: int, flags: int) -> int:
        """FS_IOC_SETFLAGS, with the other flags that the file has, as chattr(1) does."""
        self.begin()
        answer, left = native.ioctl(own(fd), native.FS_IOC_GETFLAGS, bytes(LONG))
        if answer < 0:
            return answer
        others = struct.unpack("=Q", left)[0] & ~FS_IMMUTABLE_FL
        return native.ioctl(own(fd), native.FS_IOC_SETFLAGS, struct.pack("=Q", others | flags))[0]

    async def sync(self) -> None:
        """sync(2)."""
        self.call(native.SYS_SYNC)

    async def disk_contents(self, mount: Mount, name: str) -> bytes:
        """A copy of the disk's image is mounted and read."""
        self.begin()
        return self.host.disk_contents(mount, name)

    def _open(self, path: str, flags: int) -> int:
        text = ctypes.create_string_buffer(path.encode())
        return self.call(native.SYS_OPEN, native.address_of(text), flags, MODE)
