"""/proc/PID/mem: a debugger's way to memory, which the mapping's protection does not stop.

Follows fs/proc/base.c (mem_rw) and mm/memory.c (__access_remote_vm), v3.17 and later: page by page with FOLL_FORCE,
mmap_lock held for reading from the first to the last.  So munmap() waits, but madvise(MADV_DONTNEED) does not.  And
nobody waits for a userfaultfd with that lock held: a fault that one was promised fails.

A kernel may be built to force nothing (v6.12 and later, proc_mem_foll_force()): then it is as process_vm_writev().

Not modelled: PTRACE_POKEDATA, which is the same path in smaller pieces; a kernel that forces for ptracers only, who are
nobody here; mappings of devices.
"""

from __future__ import annotations

from mmsim.kernel.filemap import read_page, set_page_dirty
from mmsim.kernel.gup import get_user_pages_remote, unpin_pages
from mmsim.kernel.releases import NO_FORCE
from mmsim.kernel.shmem import write_page
from mmsim.kernel.types import Caller, Kernel, Mm
from mmsim.syscalls import EIO, PAGE_SIZE


def forces(k: Kernel) -> bool:
    """proc_mem_foll_force()."""
    return not k.release.built(NO_FORCE)


async def mem_write(k: Kernel, mm: Mm, address: int, data: bytes) -> int:
    """pwrite(): the bytes written, up to the first page that cannot be, or -EIO."""
    done = 0
    while done < len(data):
        bounce = data[done : done + PAGE_SIZE]  # mem_rw() has one page to carry the data over in
        written = 0
        async with mm.mmap_lock.read():
            while written < len(bounce):
                at = address + done + written
                pins, _ = await get_user_pages_remote(k, mm, at, 1, Caller.PTRACE, write=True, force=forces(k))
                if not pins:
                    break
                chunk = bounce[written : written + PAGE_SIZE - at % PAGE_SIZE]
                await write_page(k, pins[0].page, at % PAGE_SIZE, chunk)
                await set_page_dirty(pins[0].page)
                await unpin_pages(k, pins)
                written += len(chunk)
        done += written
        if not written:
            return done or -EIO
    return done


async def mem_read(k: Kernel, mm: Mm, address: int, length: int) -> bytes | int:
    """pread(): the bytes read, up to the first page that cannot be, or -EIO."""
    parts = b""
    while len(parts) < length:
        end = min(length, len(parts) + PAGE_SIZE)
        before = len(parts)
        async with mm.mmap_lock.read():
            while len(parts) < end:
                at = address + len(parts)
                pins, _ = await get_user_pages_remote(k, mm, at, 1, Caller.PTRACE, write=False, force=forces(k))
                if not pins:
                    break
                start = at % PAGE_SIZE
                parts += await read_page(k, pins[0].page, start, min(PAGE_SIZE, start + end - len(parts)))
                await unpin_pages(k, pins)
        if len(parts) == before:
            return parts or -EIO
    return parts
