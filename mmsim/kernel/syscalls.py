"""The system calls of a scenario, answered by the model.

Each method looks its descriptor up (fs/file.c, __fdget) and calls the kernel function of its name.
Not modelled: struct file's own reference count and the inode's eviction: what a scenario opened stays.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Coroutine
from typing import Any

from mmsim.cells import Named
from mmsim.kernel.direct_io import io_submit, wait_for_io
from mmsim.kernel.filemap import generic_file_read
from mmsim.kernel.fork import do_exit, do_fork
from mmsim.kernel.memfd import memfd_add_seals, memfd_create, memfd_get_seals
from mmsim.kernel.memory import load_memory, store_memory
from mmsim.kernel.mmap import do_mmap, do_munmap
from mmsim.kernel.shmem import generic_perform_write, shmem_setattr
from mmsim.kernel.types import BlockDevice, File, Kernel, Process
from mmsim.steps import KernelBug
from mmsim.syscalls import EBADF, EINVAL, PAGE_SIZE, Device

FIRST_FD = 3


def with_fd(open_fds: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """The lowest free descriptor, taken."""
    number = next(n for n in range(FIRST_FD, FIRST_FD + len(open_fds) + 1) if n not in open_fds)
    return (*open_fds, number), number


def without_fd(open_fds: tuple[int, ...], number: int) -> tuple[tuple[int, ...], None]:
    """The descriptor, given back."""
    return tuple(n for n in open_fds if n != number), None


class SimSyscalls(Named):
    """`mmsim.syscalls.Syscalls` for one thread of the model."""

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

    async def _install(self, file: File) -> int:
        number: int = await self.k.process.open_fds.fetch_update(with_fd)
        await self.k.process.fd(number).store(file)
        return number

    def _device(self, device: Device) -> BlockDevice:
        return self.k.world.handle(BlockDevice, self._devices.get(device.name, device.name))

    async def memfd_create(self, name: str, flags: int = 0) -> int:
        file = await memfd_create(self.k, name, flags)
        return file if isinstance(file, int) else await self._install(file)

    async def close(self, fd: int) -> int:
        file = await self.k.process.fd(fd).exchange(None)
        if file is None:
            return -EBADF
        await self.k.process.open_fds.fetch_update(without_fd, fd)
        return 0

    async def dup(self, fd: int) -> int:
        file = await self._file(fd)
        return -EBADF if file is None else await self._install(file)

    async def ftruncate(self, fd: int, length: int) -> int:
        if length < 0:
            return -EINVAL
        file = await self._file(fd)
        return -EBADF if file is None else await shmem_setattr(self.k, file.inode, length)

    async def pread(self, fd: int, length: int, offset: int = 0) -> bytes | int:
        if offset < 0:
            return -EINVAL
        file = await self._file(fd)
        return -EBADF if file is None else await generic_file_read(self.k, file.inode, offset, length)

    async def read(self, fd: int, length: int) -> bytes | int:
        file = await self._file(fd)
        if file is None:
            return -EBADF
        async with file.f_pos_lock:
            position = await file.f_pos.load()
            data = await generic_file_read(self.k, file.inode, position, length)
            await file.f_pos.store(position + len(data))
        return data

    async def pwrite(self, fd: int, data: bytes, offset: int = 0) -> int:
        if offset < 0:
            return -EINVAL
        file = await self._file(fd)
        return -EBADF if file is None else await generic_perform_write(self.k, file.inode, offset, data)

    async def write(self, fd: int, data: bytes) -> int:
        file = await self._file(fd)
        if file is None:
            return -EBADF
        async with file.f_pos_lock:
            position = await file.f_pos.load()
            written = await generic_perform_write(self.k, file.inode, position, data)
            if written > 0:
                await file.f_pos.store(position + written)
        return written

    async def mmap(self, fd: int, prot: int, flags: int, length: int = PAGE_SIZE, offset: int = 0) -> int:
        if offset % PAGE_SIZE:
            return -EINVAL  # before the descriptor is looked at, in the architecture's sys_mmap()
        file = await self._file(fd)
        return -EBADF if file is None else await do_mmap(self.k, file, prot, flags, length, offset)

    async def munmap(self, address: int, length: int = PAGE_SIZE) -> int:
        return await do_munmap(self.k, address, length)

    async def load(self, address: int, length: int = PAGE_SIZE) -> bytes | signal.Signals:
        return await load_memory(self.k, address, length)

    async def store(self, address: int, data: bytes) -> signal.Signals | None:
        return await store_memory(self.k, address, data)

    async def add_seals(self, fd: int, seals: int) -> int:
        file = await self._file(fd)
        return -EBADF if file is None else await memfd_add_seals(self.k, file, seals)

    async def get_seals(self, fd: int) -> int:
        file = await self._file(fd)
        return -EBADF if file is None else await memfd_get_seals(file)

    async def fork(self, child: Callable[..., Coroutine[Any, Any, object]]) -> int:
        process = self._children.get(child.__name__)
        if process is None:
            msg = f"fork({child.__name__}): the scenario must list it in `children`"
            raise KernelBug(msg)
        pid = await do_fork(self.k, process)
        await started(self.k, process).store(True)
        return pid

    async def exit(self) -> None:
        if not self._alone:
            msg = "exit() of a process with several threads is not modelled: give the thread a process of its own"
            raise KernelBug(msg)
        await do_exit(self.k)

    async def submit_direct_read(self, device: Device, address: int, data: bytes) -> Any:
        return await io_submit(self.k, self._device(device), address, len(data), data)

    async def submit_direct_write(self, device: Device, address: int, length: int = PAGE_SIZE) -> Any:
        return await io_submit(self.k, self._device(device), address, length, None)

    async def wait_for(self, io: Any) -> int:
        return io if isinstance(io, int) else await wait_for_io(io)

    async def device_contents(self, device: Device) -> bytes:
        return await self._device(device).contents.load()


def started(k: Kernel, process: Process) -> Any:
    """Whether fork() has made that process."""
    return k.world.cell(f"{process.name}.started", False)
