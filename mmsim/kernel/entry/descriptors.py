"""What every group of system calls starts from: the calling thread's kernel and its descriptors.

Follows fs/file.c (__fdget, do_dup2).  Not modelled: close-on-exec, for the programs that run here open nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from mmsim.cells import Named
from mmsim.kernel.file_table import fd_install, fget, fput
from mmsim.kernel.types import BlockDevice, File, Kernel, Process, SuperBlock
from mmsim.syscalls import EBADF, Device, Mount

R = TypeVar("R")


def without_fd(open_fds: tuple[int, ...], number: int) -> tuple[tuple[int, ...], None]:
    """The descriptor, given back."""
    return tuple(n for n in open_fds if n != number), None


class Descriptors(Named):
    """The calling thread: which process, which descriptors, which devices it means."""

    def __init__(
        self, k: Kernel, index: int, devices: dict[str, str], children: dict[str, Process], alone: bool
    ) -> None:
        super().__init__(f"{k.name}.syscalls")
        self.k = k
        self.index = index
        self._devices = devices
        self._children = children
        self._alone = alone

    async def _file(self, fd: int) -> File | None:
        return await self.k.process.fd(fd).load()

    async def _fdget(self, fd: int) -> File | None:
        """A thread that is alone needs no reference: nobody closes what it uses."""
        return await self._file(fd) if self._alone else await fget(self.k, fd)

    async def _fdput(self, file: File) -> None:
        if not self._alone:
            await fput(self.k, file)

    async def _on(self, fd: int, call: Callable[..., Coroutine[Any, Any, R]], *arguments: Any) -> R | int:
        """`call(k, file, *arguments)` on the file of a descriptor, or -EBADF."""
        file = await self._fdget(fd)
        if file is None:
            return -EBADF
        answer = await call(self.k, file, *arguments)
        await self._fdput(file)
        return answer

    async def _on_both(
        self, fd: int, other_fd: int, call: Callable[..., Coroutine[Any, Any, int]], *arguments: Any
    ) -> int:
        """`call(k, file, other, *arguments)` on the files of two descriptors, or -EBADF."""
        file = await self._fdget(fd)
        if file is None:
            return -EBADF
        other = await self._fdget(other_fd)
        answer = -EBADF if other is None else await call(self.k, file, other, *arguments)
        if other is not None:
            await self._fdput(other)
        await self._fdput(file)
        return answer

    async def _install(self, file: File) -> int:
        return await fd_install(self.k, file)

    def _device(self, device: Device) -> BlockDevice:
        return self.k.world.handle(BlockDevice, self._devices.get(device.name, device.name))

    def _sb(self, mount: Mount) -> SuperBlock:
        return self.k.world.handle(SuperBlock, mount.name)

    async def close(self, fd: int) -> int:
        file = await self.k.process.fd(fd).exchange(None)
        if file is None:
            return -EBADF
        await self.k.process.open_fds.fetch_update(without_fd, fd)
        await fput(self.k, file)
        return 0

    async def dup(self, fd: int) -> int:
        file = await fget(self.k, fd)
        return -EBADF if file is None else await self._install(file)
