"""Direct I/O under way while its buffer is unmapped and the file sealed: one process for each way to do it.

Each seals while the device holds its answer back, waits for the answer, and seals again.
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario, process
from mmsim.syscalls import (
    EBUSY,
    F_SEAL_FUTURE_WRITE,
    F_SEAL_GROW,
    F_SEAL_SEAL,
    F_SEAL_SHRINK,
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Device,
    Syscalls,
    fill,
)

SLOW = Device("slow")


@attrs.frozen
class Seen:
    sealed: int
    before: bytes | int
    transferred: int
    after: bytes | int
    sealed_again: int


async def setup(sys: Syscalls) -> int:
    return 0


async def race(
    sys: Syscalls,
    *,
    seals: int = F_SEAL_WRITE,
    flags: int = MAP_SHARED,
    touch: bool = False,
    unmap: bool = True,
    write: bool = False,
    pages: int = 1,
) -> Seen:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig", pages))
    window = await sys.mmap(fd, PROT_READ | PROT_WRITE, flags, pages * PAGE_SIZE)
    if touch:
        await sys.store(window, fill(b"orig", pages))
    if write:
        io = await sys.submit_direct_write(SLOW, window, pages * PAGE_SIZE)
    else:
        io = await sys.submit_direct_read(SLOW, window, fill(b"late", pages))
    if unmap:
        await sys.munmap(window, pages * PAGE_SIZE)
    sealed = await sys.add_seals(fd, seals)
    before = await sys.pread(fd, PAGE_SIZE)
    transferred = await sys.wait_for(io)
    after = await sys.pread(fd, PAGE_SIZE)
    return Seen(sealed, before, transferred, after, await sys.add_seals(fd, seals))


async def read(sys: Syscalls, _: int) -> Seen:
    return await race(sys)


async def future_write(sys: Syscalls, _: int) -> Seen:
    return await race(sys, seals=F_SEAL_FUTURE_WRITE)


async def still_mapped(sys: Syscalls, _: int) -> Seen:
    return await race(sys, unmap=False)


async def private(sys: Syscalls, _: int) -> Seen:
    return await race(sys, flags=MAP_PRIVATE)


async def private_and_touched(sys: Syscalls, _: int) -> Seen:
    return await race(sys, flags=MAP_PRIVATE, touch=True)


async def write(sys: Syscalls, _: int) -> Seen:
    return await race(sys, write=True)


async def private_write(sys: Syscalls, _: int) -> Seen:
    return await race(sys, write=True, flags=MAP_PRIVATE)


async def eight_pages(sys: Syscalls, _: int) -> Seen:
    return await race(sys, pages=8)


async def size_alone(sys: Syscalls, _: int) -> Seen:
    return await race(sys, seals=F_SEAL_SHRINK | F_SEAL_GROW)


async def and_seal(sys: Syscalls, _: int) -> Seen:
    return await race(sys, seals=F_SEAL_WRITE | F_SEAL_SEAL)


ORIG, LATE = fill(b"orig"), fill(b"late")
expected = {
    read: Seen(-EBUSY, ORIG, PAGE_SIZE, LATE, 0),
    future_write: Seen(0, ORIG, PAGE_SIZE, LATE, 0),
    still_mapped: Seen(-EBUSY, ORIG, PAGE_SIZE, LATE, -EBUSY),
    private: Seen(0, ORIG, PAGE_SIZE, ORIG, 0),
    private_and_touched: Seen(0, ORIG, PAGE_SIZE, ORIG, 0),
    write: Seen(-EBUSY, ORIG, PAGE_SIZE, ORIG, 0),
    private_write: Seen(-EBUSY, ORIG, PAGE_SIZE, ORIG, 0),
    eight_pages: Seen(-EBUSY, ORIG, 8 * PAGE_SIZE, LATE, 0),
    size_alone: Seen(0, ORIG, PAGE_SIZE, LATE, 0),
    and_seal: Seen(-EBUSY, ORIG, PAGE_SIZE, LATE, 0),
}
"""What Linux 6.18 answered by hand where the device answers last."""

together = Scenario(setup=setup, threads=tuple(process(case) for case in expected), devices=(SLOW,))
alone = {case.__name__: Scenario(setup=setup, threads=(case,), devices=(SLOW,)) for case in expected}
