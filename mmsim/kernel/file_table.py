"""struct file: who refers to it, by which descriptors, and what its last reference gives back.

Follows fs/file_table.c (get_file, fput, __fput) and fs/file.c (__fget_light, fd_install), v3.17.  A descriptor holds a
reference, and so does a mapping: a file whose descriptor is closed stays open, for writing too, while it is mapped.

Not modelled: the references of memfds and dma-bufs (`File.counted`) unless they are evicted, because nothing looks at
them and nobody asks who has the kernel's own mounts open for writing; the deferral of __fput() to the return from the
system call, which is when a call here ends too.
"""

from __future__ import annotations

from mmsim.kernel.inode import iget, iput
from mmsim.kernel.types import File, Inode, Kernel
from mmsim.kernel.write_access import file_drop_write

ONE_REFERENCE = 1
FIRST_FD = 3


def with_fd(open_fds: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """The lowest free descriptor, taken."""
    number = next(n for n in range(FIRST_FD, FIRST_FD + len(open_fds) + 1) if n not in open_fds)
    return (*open_fds, number), number


async def alloc_file(file: File) -> File:
    """A new struct file, with the reference that its descriptor is going to have."""
    if file.counted:
        await file.f_count.store(ONE_REFERENCE)
        await iget(file.inode)
    return file


async def get_file(file: File) -> None:
    """One more reference, for somebody who has one."""
    if file.counted:
        await file.f_count.get_reference()


async def fput(k: Kernel, file: File) -> None:
    """One reference less; the last one releases what is behind the file, and ends the right to write it."""
    if not file.counted or not await file.f_count.dec_and_test():
        return
    if file.f_op:
        await file.f_op.release(k, file)
    if file.writable:
        await file_drop_write(file.inode)
    await iput(k, file.inode)


async def fget(k: Kernel, fd: int) -> File | None:
    """The open file of a descriptor, with a reference: close() in another thread must not end the call's own writing.

    The descriptor is looked at again after the reference is taken: the file may have been closed in between.
    """
    slot = k.process.fd(fd)
    while True:
        file = await slot.load()
        if file is None or not file.counted:
            return file
        if not await file.f_count.inc_not_zero():
            continue
        if await slot.load() is file:
            return file
        await fput(k, file)


async def proc_fd_link(k: Kernel, fd: int) -> Inode | None:
    """What a descriptor's link in /proc/self/fd leads to, with a reference.

    It takes the path alone: whoever closes the file meanwhile ends its right to write.
    """
    slot = k.process.fd(fd)
    while True:
        file = await slot.load()
        if file is None:
            return None
        if not file.inode.sb.evicts:
            return file.inode
        if await file.inode.i_count.inc_not_zero():
            if await slot.load() is file:
                return file.inode
            await iput(k, file.inode)


async def fd_install(k: Kernel, file: File) -> int:
    """The lowest free descriptor: it has the caller's reference from here on."""
    number: int = await k.process.open_fds.fetch_update(with_fd)
    await k.process.fd(number).store(file)
    return number
