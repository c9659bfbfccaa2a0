"""Files on mounts, remounting and file flags.

Not modelled: mount() and umount(): what a scenario names in `mounts` stays mounted.
"""

from __future__ import annotations

from mmsim.kernel.entry.descriptors import Descriptors
from mmsim.kernel.file_table import proc_fd_link
from mmsim.kernel.inode import iput
from mmsim.kernel.namespace import do_remount_sb
from mmsim.kernel.open import disk_contents, do_sys_open, ioctl_setflags, open_inode
from mmsim.kernel.page_writeback import sync
from mmsim.syscalls import ENOENT, Mount


class MountCalls(Descriptors):
    """open() by name or by descriptor, and who forbids it."""

    async def open(self, mount: Mount, name: str, flags: int) -> int:
        file = await do_sys_open(self.k, self._sb(mount), name, flags)
        return file if isinstance(file, int) else await self._install(file)

    async def reopen(self, fd: int, flags: int) -> int:
        inode = await proc_fd_link(self.k, fd)
        if inode is None:
            return -ENOENT  # a descriptor that is not open has no link in /proc/self/fd
        opened = await open_inode(self.k, inode, flags)
        await iput(self.k, inode)
        return opened if isinstance(opened, int) else await self._install(opened)

    async def remount(self, mount: Mount, flags: int) -> int:
        return await do_remount_sb(self.k, self._sb(mount), flags)

    async def chattr(self, fd: int, flags: int) -> int:
        return await self._on(fd, ioctl_setflags, flags)

    async def sync(self) -> None:
        await sync(self.k)

    async def disk_contents(self, mount: Mount, name: str) -> bytes:
        return await disk_contents(self._sb(mount), name)
