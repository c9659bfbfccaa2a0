"""From an open file to the file system that answers for it.

Follows fs/read_write.c (vfs_read, vfs_write) and fs/open.c (do_sys_ftruncate), v3.17.
Not modelled: file_start_write(), because nothing here freezes a file system; fallocate() of ext4.
"""

from __future__ import annotations

from mmsim.kernel.ext4 import ext4_perform_write, ext4_setattr
from mmsim.kernel.filemap import generic_file_read
from mmsim.kernel.shmem import generic_perform_write, shmem_chmod, shmem_fallocate, shmem_setattr
from mmsim.kernel.types import File, Kernel
from mmsim.syscalls import (
    EBADF,
    EINVAL,
    EOPNOTSUPP,
    EPERM,
    ESPIPE,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    FS_IMMUTABLE_FL,
)


async def vfs_read(k: Kernel, file: File, position: int, length: int) -> bytes | int:
    """pread(): the bytes, -EBADF where the file is not open for reading, -ESPIPE where it has no positions."""
    if file.f_op:
        return -ESPIPE
    return await generic_file_read(k, file.inode, position, length) if file.readable else -EBADF


async def vfs_write(k: Kernel, file: File, position: int, data: bytes) -> int:
    """pwrite(): the bytes written, -EBADF where the file is not open for writing, -ESPIPE where it has no positions."""
    if file.f_op:
        return -ESPIPE
    if not file.writable:
        return -EBADF
    if file.inode.sb.block_backed:
        return await ext4_perform_write(k, file.inode, position, data)
    return await generic_perform_write(k, file.inode, position, data)


async def read(k: Kernel, file: File, length: int) -> bytes | int:
    """read() at the file's position."""
    if file.f_op:
        return await file.f_op.read(k, file, length)
    async with file.f_pos_lock:
        position = await file.f_pos.load()
        data = await vfs_read(k, file, position, length)
        if isinstance(data, bytes):
            await file.f_pos.store(position + len(data))
    return data


async def write(k: Kernel, file: File, data: bytes) -> int:
    """write() at the file's position."""
    if file.f_op:
        return await file.f_op.write(k, file, data)
    async with file.f_pos_lock:
        position = await file.f_pos.load()
        written = await vfs_write(k, file, position, data)
        if written > 0:
            await file.f_pos.store(position + written)
    return written


async def ftruncate(k: Kernel, file: File, length: int) -> int:
    """Change the size: 0, -EINVAL where the file is not open for writing, or what its file system says."""
    return await do_truncate(k, file, length) if file.writable and not file.f_op else -EINVAL


async def do_truncate(k: Kernel, file: File, length: int) -> int:
    """notify_change() of the size."""
    setattr_ = ext4_setattr if file.inode.sb.block_backed else shmem_setattr
    return await setattr_(k, file.inode, length)


async def fallocate(k: Kernel, file: File, mode: int, offset: int, length: int) -> int:
    """vfs_fallocate(): 0, -EBADF, -ESPIPE, -EPERM of an immutable file, or what the file system says."""
    if offset < 0 or length <= 0:
        return -EINVAL
    if mode & FALLOC_FL_PUNCH_HOLE and not mode & FALLOC_FL_KEEP_SIZE:
        return -EOPNOTSUPP
    if not file.writable:
        return -EBADF
    if file.f_op:
        return -ESPIPE
    if await file.inode.i_flags.load() & FS_IMMUTABLE_FL:
        return -EPERM
    return -EOPNOTSUPP if file.inode.sb.block_backed else await shmem_fallocate(k, file.inode, mode, offset, length)


async def fchmod(_k: Kernel, file: File, mode: int) -> int:
    """chmod_common(): 0, or -EPERM of an immutable file or where F_SEAL_EXEC guards an x bit."""
    if await file.inode.i_flags.load() & FS_IMMUTABLE_FL:
        return -EPERM
    return await shmem_chmod(file.inode, mode)
