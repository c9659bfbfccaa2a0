"""Mounts: who writes there, and remounting.

Follows fs/namespace.c (__mnt_want_write, sb_prepare_remount_readonly), fs/super.c (do_remount_sb), fs/open.c
(do_dentry_open) and fs/ext4/super.c (ext4_remount, which writes everything back), v3.17.

A writer raises the count before he looks whether the mount is read-only, and a remount shows its hold before it looks
at the count: whoever comes second sees the first, so an open for writing and a remount cannot both win.

Not modelled: the counts being one for each CPU, because a writer who came before the hold is in their sum however late
it is read, and one who came after it waits; several mounts of one file system; force.
"""

from __future__ import annotations

from mmsim.kernel.page_writeback import sync_inodes_sb
from mmsim.kernel.readonly import become_read_only, become_writable
from mmsim.kernel.strategy import Guarantee
from mmsim.kernel.types import Inode, Kernel, SuperBlock
from mmsim.syscalls import EBUSY, EROFS, MS_RDONLY


def is_clear(flag: bool) -> bool:
    """Whether nobody holds writers back."""
    return not flag


async def mnt_want_write(sb: SuperBlock) -> int:
    """One more writer: 0, or -EROFS."""
    if sb.internal:
        return 0
    await sb.mnt_writers.inc()
    await sb.mnt_write_hold.spin_until(is_clear)
    # s_readonly_remount first: do_remount_sb() sets s_readonly before it clears the other, so one of them shows.
    if await sb.s_readonly_remount.load() or await sb.s_readonly.load():
        await sb.mnt_writers.dec()
        return -EROFS
    return 0


async def mnt_drop_write(sb: SuperBlock) -> None:
    """One writer less."""
    if not sb.internal:
        await sb.mnt_writers.dec()


async def sb_prepare_remount_readonly(sb: SuperBlock) -> int:
    """No new writer from here on, unless there is one: 0 or -EBUSY."""
    await sb.mnt_write_hold.store(True)
    error = -EBUSY if await sb.mnt_writers.load() > 0 else 0
    if not error:
        await sb.s_readonly_remount.store(True)
    await sb.mnt_write_hold.store(False)
    return error


async def do_remount_sb(k: Kernel, sb: SuperBlock, flags: int) -> int:
    """mount -o remount,ro or ,rw: 0 or -EBUSY."""
    readonly = bool(flags & MS_RDONLY)
    async with sb.s_umount:
        if await sb.s_readonly.load() is readonly:
            return 0
        if not readonly:
            # Before anybody can open for writing: who maps what he opened must not meet a promise taken back.
            await allow_inodes(k, await sb.s_inodes.load())
            await sb.s_readonly.store(False)
            return 0
        error = await sb_prepare_remount_readonly(sb)
        if error:
            return error
        error = await deny_inodes(k, await sb.s_inodes.load())
        if not error:
            # After the last writer, so nothing is left to be written to the disk of a mount that is read-only.
            await sync_inodes_sb(k, sb)
            await sb.s_readonly.store(True)
        await sb.s_readonly_remount.store(False)
    return error


async def deny_inodes(k: Kernel, inodes: tuple[Inode, ...]) -> int:
    """Ask the design about every file of the mount: 0, or an errno with none of them changed."""
    for number, inode in enumerate(inodes):
        async with inode.i_mutex:
            error = await become_read_only(k, inode, Guarantee.REMOUNTED)
        if error:
            await allow_inodes(k, inodes[:number])
            return error
    return 0


async def allow_inodes(k: Kernel, inodes: tuple[Inode, ...]) -> None:
    """Take the promise back."""
    for inode in inodes:
        await become_writable(k, inode, Guarantee.REMOUNTED)
