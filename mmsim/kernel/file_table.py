"""struct file: who refers to it, and what its last reference gives back.

Follows fs/file_table.c (get_file, fput, __fput) and fs/file.c (__fget_light), v3.17.  A descriptor holds a reference,
and so does a mapping: a file whose descriptor is closed stays open, for writing too, as long as it is mapped.

Not modelled: the references of memfds, because nobody asks who has the kernel's own mount open for writing; the
deferral of __fput() to the return from the system call, which is when a call here ends too; eviction of the inode;
i_writecount, because nothing here runs a program.
"""

from __future__ import annotations

from mmsim.kernel.namespace import mnt_drop_write
from mmsim.kernel.types import File, Process


async def get_file(file: File) -> None:
    """One more reference, for somebody who has one."""
    if not file.inode.sb.internal:
        await file.f_count.get_reference()


async def fput(file: File) -> None:
    """One reference less; the last one ends the writing on the mount."""
    if not file.inode.sb.internal and await file.f_count.dec_and_test() and file.writable:
        await mnt_drop_write(file.inode.sb)


async def fget(process: Process, fd: int) -> File | None:
    """The open file of a descriptor, with a reference: close() in another thread must not end the call's own writing.

    The descriptor is looked at again after the reference is taken: the file may have been closed in between.
    """
    while True:
        file = await process.fd(fd).load()
        if file is None or file.inode.sb.internal:
            return file
        if not await file.f_count.inc_not_zero():
            continue
        if await process.fd(fd).load() is file:
            return file
        await fput(file)
