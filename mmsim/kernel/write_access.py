"""i_writecount: how many have a file open for writing or, below zero, how many keep it from being opened so.

Follows include/linux/fs.h (get_write_access, put_write_access, deny_write_access, allow_write_access) and
fs/open.c (do_dentry_open), v3.17.  It is the older sibling of i_mmap_writable: open files are counted here, mappings
there, and neither counts who has pinned a page.

Not modelled: the files of memfds, pipes and sockets, which alloc_file() makes without counting them (so a memfd that is
open for writing can be executed); swap files and IMA, which deny as execve() does.
"""

from __future__ import annotations

from mmsim.kernel.namespace import mnt_drop_write, mnt_want_write
from mmsim.kernel.types import Inode
from mmsim.syscalls import ETXTBSY


async def get_write_access(inode: Inode) -> int:
    """One more who may write, unless writers are denied: 0 or -ETXTBSY."""
    return 0 if await inode.i_writecount.inc_unless_negative() else -ETXTBSY


async def put_write_access(inode: Inode) -> None:
    """One less."""
    await inode.i_writecount.dec()


async def deny_write_access(inode: Inode) -> int:
    """Nobody may open the file for writing from here on, unless somebody has: 0 or -ETXTBSY."""
    return 0 if await inode.i_writecount.dec_unless_positive() else -ETXTBSY


async def allow_write_access(inode: Inode) -> None:
    """Undo deny_write_access()."""
    await inode.i_writecount.inc()


async def file_want_write(inode: Inode) -> int:
    """What do_dentry_open() asks for a file that is opened for writing: 0, -ETXTBSY or -EROFS.  Nothing for memfds."""
    if inode.sb.internal:
        return 0
    error = await get_write_access(inode)
    if error:
        return error
    error = await mnt_want_write(inode.sb)
    if error:
        await put_write_access(inode)
    return error


async def file_drop_write(inode: Inode) -> None:
    """The file that was open for writing is released."""
    if not inode.sb.internal:
        await put_write_access(inode)
        await mnt_drop_write(inode.sb)
