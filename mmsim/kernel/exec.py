"""execve(): the program's file may not be written while it runs.

Follows fs/exec.c (do_open_execat, exec_mmap), fs/binfmt_elf.c (elf_map) and mm/mmap.c (VM_DENYWRITE), v3.17, and
kernel/fork.c (set_mm_exe_file, dup_mm_exe_file), v5.15, where mm->exe_file denies in place of the mapping.  In v6.11
and v6.12 nobody denied anything ("fs: don't block i_writecount during exec", reverted in 6.11.11 and 6.12.2).

What execve() promises is what a seal promises, as long as the program runs, and the count that it asks is of open
files: a page that a device is going to write to is in no count.  So a design is asked here as before a seal.

Not modelled: the program itself (the thread that called goes on, and its text is the first page of the file), whether
it may be executed, its interpreter and #! lines; other threads, which Linux kills; programs in memfds; O_CLOEXEC but
for the ring's own descriptor; PR_SET_MM_EXE_FILE; fanotify's pre-content events, whose files may be written in v6.14
and later.
"""

from __future__ import annotations

from mmsim.kernel.file_table import fput, get_file
from mmsim.kernel.io_uring import io_ring_exit
from mmsim.kernel.mmap import exit_mmap, mmap_region
from mmsim.kernel.open import do_sys_open
from mmsim.kernel.readonly import become_read_only, become_writable
from mmsim.kernel.releases import EXE_FILE_DENIES_WRITE, EXEC_IGNORES_WRITERS, TEXT_DENIES_WRITE
from mmsim.kernel.strategy import Guarantee
from mmsim.kernel.types import VM_DENYWRITE, VM_MAYWRITE, VM_READ, ExeFile, Inode, Kernel, Mm, SuperBlock
from mmsim.kernel.write_access import allow_write_access, deny_write_access
from mmsim.syscalls import ETXTBSY, O_RDONLY, PAGE_SIZE


async def do_execve(k: Kernel, sb: SuperBlock, name: str) -> int:
    """execve(): where the text is mapped, or -ENOENT, -ETXTBSY with nothing changed."""
    file = await do_sys_open(k, sb, name, O_RDONLY)
    if isinstance(file, int):
        return file
    denied = not k.release.has(EXEC_IGNORES_WRITERS)
    error = await deny_writers(k, file.inode) if denied else 0
    if error:
        await fput(k, file)
        return error
    await k.process.reqs_active.wait_until(nothing_in_flight)
    await mmput(k)
    await io_ring_exit(k)  # its descriptor is closed on exec, always
    exe = ExeFile(file, denies=k.release.has(EXE_FILE_DENIES_WRITE))
    await set_mm_exe_file(k.mm, exe)
    text = VM_READ | VM_MAYWRITE | (VM_DENYWRITE if k.release.has(TEXT_DENIES_WRITE) else 0)
    async with k.mm.mmap_lock:
        address = await mmap_region(k, k.mm, file, text, PAGE_SIZE, 0, 0)
    if denied:
        # Only now: from here on the mapping or mm->exe_file denies in its own name.
        await allow_write_access(file.inode)
    await fput(k, file)
    return address


async def deny_writers(k: Kernel, inode: Inode) -> int:
    """do_open_execat(): nobody has the file open for writing, nor may anybody from here on.  0 or -ETXTBSY.

    A design is asked after that: no mapping can be made any more through which a page could be pinned to be written.
    """
    error = await deny_write_access(inode)
    if not error and Guarantee.EXECUTED in k.strategy.guards:
        async with inode.i_mutex:
            error = -ETXTBSY if await become_read_only(k, inode, Guarantee.EXECUTED) else 0
        if error:
            await allow_write_access(inode)
    return error


def nothing_in_flight(active: int) -> bool:
    """Whether all asynchronous I/O has completed."""
    return not active


async def mmput(k: Kernel) -> None:
    """The process's memory goes, and with it the program; the caller has waited for its I/O, as exit_aio() does."""
    exe = await k.mm.exe_file.load()
    if exe is not None and not k.release.has(EXEC_IGNORES_WRITERS):
        # While i_writecount still denies: whoever opens the file once it does not must be able to map it.
        await become_writable(k, exe.file.inode, Guarantee.EXECUTED)
    await exit_mmap(k)
    if exe is not None:
        await exit_exe_file(k, exe)


async def set_mm_exe_file(mm: Mm, exe: ExeFile) -> None:
    """The program that runs from here on; whoever calls denies its writers already."""
    if exe.denies:
        await deny_write_access(exe.file.inode)
    await get_file(exe.file)
    await mm.exe_file.store(exe)


async def exit_exe_file(k: Kernel, exe: ExeFile) -> None:
    """set_mm_exe_file(mm, NULL): the program runs no longer."""
    await k.mm.exe_file.store(None)
    if exe.denies:
        await allow_write_access(exe.file.inode)
    await fput(k, exe.file)


async def dup_mm_exe_file(k: Kernel, child: Mm) -> None:
    """fork(): the child runs the same program, and denies in its own name.  Nobody can have begun to write since."""
    exe = await k.mm.exe_file.load()
    if exe is None:
        return
    await set_mm_exe_file(child, exe)
    if Guarantee.EXECUTED in k.strategy.guards and not k.release.has(EXEC_IGNORES_WRITERS):
        async with exe.file.inode.i_mutex:
            await k.strategy.deny_writable(k, exe.file.inode)
