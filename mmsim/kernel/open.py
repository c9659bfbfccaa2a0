"""Opening files, and the flag that makes one immutable.

Follows fs/namei.c (do_last, inode_permission), fs/open.c (do_dentry_open), fs/ext4/ioctl.c and mm/shmem.c
(shmem_fileattr_set), v3.17 and v6.1.

Not modelled: directories but for the one at the root of a mount; permissions of users, since root runs everything;
O_EXCL, O_APPEND and file locks.
"""

from __future__ import annotations

from functools import partial

from mmsim.kernel.file_table import alloc_file
from mmsim.kernel.namespace import mnt_drop_write, mnt_want_write
from mmsim.kernel.page_writeback import filemap_write_and_wait
from mmsim.kernel.read_write import do_truncate
from mmsim.kernel.readonly import become_read_only, become_writable
from mmsim.kernel.releases import EXT4_ENFORCES_IMMUTABLE, OPENING_IMMUTABLE_IS_EPERM, TMPFS_HAS_FLAGS
from mmsim.kernel.strategy import Guarantee
from mmsim.kernel.types import File, Inode, Kernel, SuperBlock
from mmsim.kernel.write_access import file_drop_write, file_want_write
from mmsim.syscalls import (
    EACCES,
    ENOENT,
    ENOTTY,
    EOPNOTSUPP,
    EPERM,
    EROFS,
    F_SEAL_SEAL,
    FS_IMMUTABLE_FL,
    O_CREAT,
    O_TRUNC,
    PAGE_SIZE,
)


async def do_sys_open(k: Kernel, sb: SuperBlock, name: str, flags: int) -> File | int:
    """open(): an open file with one reference, or an errno."""
    inode = k.world.handle(partial(Inode, sb=sb), f"{sb.name}:{name}")
    if inode not in await sb.s_inodes.load():
        if not flags & O_CREAT:
            return -ENOENT
        error = await mnt_want_write(sb)
        if error:
            return error
        async with sb.root_mutex:
            inodes = await sb.s_inodes.load()
            if inode not in inodes:
                if not sb.block_backed:
                    await inode.seals.store(F_SEAL_SEAL)
                await sb.s_inodes.store((*inodes, inode))
        await mnt_drop_write(sb)
    return await open_inode(k, inode, flags)


async def inode_permission(k: Kernel, inode: Inode) -> int:
    """Whether somebody may begin to write the file: 0 or an errno."""
    if not inode.sb.internal and await inode.sb.s_readonly.load():
        return -EROFS
    if await inode.i_flags.load() & FS_IMMUTABLE_FL:
        return -EPERM if k.release.has(OPENING_IMMUTABLE_IS_EPERM) else -EACCES
    return 0


async def open_inode(k: Kernel, inode: Inode, flags: int) -> File | int:
    """do_dentry_open(): asks for the right to write, keeps it as long as the file is open, truncates if asked to.

    Whoever only truncates has it as long as that takes (handle_truncate()).
    """
    number = await k.number("files_opened")
    name = f"{k.cpu}.opened[{number}].{flags:#o}.{inode.name}"
    file = k.world.handle(partial(File, inode=inode, flags=flags & ~(O_CREAT | O_TRUNC)), name)
    if file.writable or flags & O_TRUNC:
        error = await inode_permission(k, inode) or await file_want_write(inode)
        if error:
            return error
    error = await do_truncate(k, file, 0) if flags & O_TRUNC else 0
    if error or (flags & O_TRUNC and not file.writable):
        await file_drop_write(inode)
    if error:
        return error
    return await alloc_file(file)


async def ioctl_setflags(k: Kernel, file: File, flags: int) -> int:
    """FS_IOC_SETFLAGS: 0 or an errno.

    ext4 writes all that is dirty back first, which write-protects every mapping, so that the next store asks it.  It
    sets the flag only then, and nothing keeps a store from making a page writable again in between.
    """
    inode = file.inode
    if not inode.sb.block_backed and not k.release.has(TMPFS_HAS_FLAGS):
        return -ENOTTY
    if flags & ~FS_IMMUTABLE_FL:
        return -EOPNOTSUPP
    error = await mnt_want_write(inode.sb)
    if error:
        return error
    async with inode.i_mutex:
        error = await change_flags(k, inode, await inode.i_flags.load(), flags)
    await mnt_drop_write(inode.sb)
    return error


async def change_flags(k: Kernel, inode: Inode, old: int, flags: int) -> int:
    """Make the file immutable, or no longer; called with i_mutex held."""
    if flags & ~old:
        error = await become_read_only(k, inode, Guarantee.IMMUTABLE)
        if error:
            return error
        if inode.sb.block_backed and k.release.has(EXT4_ENFORCES_IMMUTABLE):
            await filemap_write_and_wait(k, inode)
    await inode.i_flags.store(flags)
    if old & ~flags:
        # After the flag is gone, for whoever maps the file now must not store to one that still seems immutable.
        await become_writable(k, inode, Guarantee.IMMUTABLE)
    return 0


async def disk_contents(sb: SuperBlock, name: str) -> bytes:
    """What a fresh mount of the disk would show of a file."""
    inode = sb.world.handle(partial(Inode, sb=sb), f"{sb.name}:{name}")
    size = await inode.i_size.load()
    content = b""
    for index in range(-(-size // PAGE_SIZE)):
        content += await inode.disk(index).load()
    return content[:size]
