"""Calls that the catalogue makes in scenarios for the model only, and content of every kind.

user      one descriptor in three guises, a mapping that moves, content that does not repeat itself
other     a page that is resolved by hand
"""

from __future__ import annotations

from mmsim.scenario import Scenario, process
from mmsim.syscalls import (
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    MADV_DONTNEED,
    MAP_FIXED,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    O_RDONLY,
    O_RDWR,
    PAGE_SIZE,
    PROT_NONE,
    PROT_READ,
    PROT_WRITE,
    UFFDIO_REGISTER_MODE_MINOR,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS

RW = PROT_READ | PROT_WRITE


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create('a "name"', MFD_ALLOW_SEALING)
    await sys.ftruncate(fd, 2 * PAGE_SIZE)
    await sys.mmap(fd, PROT_NONE, MAP_PRIVATE)
    return fd


async def user(sys: Syscalls, fd: int) -> int:
    copy = await sys.dup(fd)
    again = await sys.reopen(fd, O_RDONLY)
    await sys.write(again, b"no")
    await sys.reopen(99, O_RDWR)
    window = await sys.mmap(copy, RW, MAP_SHARED, 2 * PAGE_SIZE)
    await sys.store(window + PAGE_SIZE - 2, b'\0?\\"')
    await sys.pwrite(fd, bytes(range(40)), 7)
    await sys.pread(again, 3 * PAGE_SIZE, 5)
    target = await sys.mmap(copy, PROT_READ, MAP_PRIVATE, 2 * PAGE_SIZE)
    moved = await sys.mremap(window, 2 * PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, target)
    await sys.load(window, 4)
    await sys.load(moved, PAGE_SIZE)
    await sys.mmap(fd, PROT_READ, MAP_SHARED | MAP_FIXED, PAGE_SIZE, 0, moved)
    await sys.store(moved, b"x")
    await sys.mprotect(moved, PAGE_SIZE, PROT_NONE)
    await sys.madvise(moved, PAGE_SIZE, MADV_DONTNEED)
    await sys.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE_SIZE)
    await sys.mmap(fd, RW, MAP_SHARED, PAGE_SIZE, 1)
    await sys.munmap(moved + 1)
    await sys.pread(again, 4)
    end, start = await sys.pipe()
    await sys.vmsplice(start, target + PAGE_SIZE, PAGE_SIZE)
    await sys.splice(fd, None, start, 10)
    await sys.close(end)
    await sys.write(start, fill(b"late"))
    await sys.close(start)
    return await sys.close(99)


async def other(sys: Syscalls, fd: int) -> int:
    window = await sys.mmap(fd, RW, MAP_SHARED, 2 * PAGE_SIZE)
    await sys.pwrite(fd, fill(b"page", 2))
    await sys.uffd_register(window, 2 * PAGE_SIZE, UFFDIO_REGISTER_MODE_MINOR)
    await sys.uffd_continue(window)
    await sys.uffd_continue(window)
    await sys.load(window)
    await sys.mem_write(window, b"mine")
    return await sys.process_vm_writev(None, window, b"more")


scenario = Scenario(setup=setup, threads=(user, process(other)), expect={"wait_for_pins": HOLDS}, release="v6.12")
