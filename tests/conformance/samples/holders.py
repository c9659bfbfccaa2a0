"""Who holds or writes pages otherwise than by direct I/O: one process for each.

What each returned on Linux 6.18, found by hand, is in `expected`.
"""

from __future__ import annotations

from typing import Any

from mmsim.scenario import Scenario, process
from mmsim.syscalls import (
    EACCES,
    EBUSY,
    EEXIST,
    EFAULT,
    EIO,
    ENOENT,
    ENXIO,
    EPERM,
    F_SEAL_FUTURE_WRITE,
    F_SEAL_WRITE,
    MADV_DONTNEED,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    SIGSEGV,
    UFFDIO_REGISTER_MODE_MINOR,
    UFFDIO_REGISTER_MODE_MISSING,
    Device,
    Syscalls,
    fill,
)

SLOW = Device("slow")
ORIG, LATE = fill(b"orig"), fill(b"late")


async def setup(sys: Syscalls) -> int:
    return 0


async def window_on_a_memfd(
    sys: Syscalls,
    prot: int = PROT_READ | PROT_WRITE,
    flags: int = MAP_SHARED,
    seals: int = 0,
    content: bytes = ORIG,
) -> tuple[int, int]:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.ftruncate(fd, PAGE_SIZE)
    if content:
        await sys.pwrite(fd, content)
    if seals:
        await sys.add_seals(fd, seals)
    return fd, await sys.mmap(fd, prot, flags)


async def registered_buffer(sys: Syscalls, _: int) -> tuple[Any, ...]:
    fd, window = await window_on_a_memfd(sys)
    buffer = await sys.register_buffer(window)
    await sys.munmap(window)
    held = await sys.add_seals(fd, F_SEAL_WRITE)
    read = await sys.wait_for(await sys.submit_read_fixed(SLOW, buffer, LATE))
    content = await sys.pread(fd, PAGE_SIZE)
    gone = await sys.unregister_buffer(buffer), await sys.unregister_buffer(buffer)
    unknown = await sys.submit_read_fixed(SLOW, buffer, LATE)
    return held, read, content, gone, unknown, await sys.add_seals(fd, F_SEAL_WRITE)


async def unregistrable_buffers(sys: Syscalls, _: int) -> tuple[Any, ...]:
    read_only = await window_on_a_memfd(sys, PROT_READ)
    private = await window_on_a_memfd(sys, PROT_READ, MAP_PRIVATE)
    sealed = await window_on_a_memfd(sys, PROT_READ, seals=F_SEAL_WRITE)
    return tuple([await sys.register_buffer(window) for _, window in (read_only, private, sealed)])


async def writers_of_memory(sys: Syscalls, _: int) -> tuple[Any, ...]:
    """process_vm_writev() and /proc/self/mem on mappings of every kind, then what the file holds."""
    answers: list[Any] = []
    for prot, flags, seals in (
        (PROT_READ | PROT_WRITE, MAP_SHARED, 0),
        (PROT_READ, MAP_SHARED, 0),
        (PROT_READ, MAP_SHARED, F_SEAL_WRITE),
        (PROT_READ, MAP_SHARED, F_SEAL_FUTURE_WRITE),
        (PROT_READ, MAP_PRIVATE, F_SEAL_WRITE),
        (PROT_READ | PROT_WRITE, MAP_PRIVATE, F_SEAL_WRITE),
    ):
        fd, window = await window_on_a_memfd(sys, prot, flags, seals)
        answers.append(
            (
                await sys.process_vm_writev(None, window, LATE),
                await sys.mem_write(window, LATE),
                await sys.mem_read(window, PAGE_SIZE),
                await sys.pread(fd, PAGE_SIZE),
                await sys.mprotect(window, PAGE_SIZE, PROT_READ | PROT_WRITE),
            )
        )
        await sys.munmap(window)
        answers.append((await sys.mem_read(window, 1), await sys.process_vm_writev(None, window, b"x")))
    return tuple(answers)


async def read_only_memory(sys: Syscalls, _: int) -> tuple[Any, ...]:
    _, window = await window_on_a_memfd(sys, PROT_READ, MAP_SHARED, F_SEAL_WRITE)
    return (
        await sys.process_vm_writev(None, window, LATE),
        await sys.mem_write(window, LATE),
        await sys.mem_read(window, PAGE_SIZE),
        await sys.mprotect(window, PAGE_SIZE, PROT_READ | PROT_WRITE),
        await sys.load(window),
    )


async def missing_pages(sys: Syscalls, _: int) -> tuple[Any, ...]:
    """UFFDIO_COPY into holes: through which mappings it may be, and what the file holds then."""
    answers: list[Any] = []
    for prot, flags, seals in (
        (PROT_READ | PROT_WRITE, MAP_SHARED, 0),
        (PROT_READ, MAP_SHARED, 0),
        (PROT_READ, MAP_SHARED, F_SEAL_WRITE),
        (PROT_READ, MAP_SHARED, F_SEAL_FUTURE_WRITE),
        (PROT_READ | PROT_WRITE, MAP_PRIVATE, F_SEAL_WRITE),
    ):
        fd, window = await window_on_a_memfd(sys, prot, flags, seals, b"")
        registered = await sys.uffd_register(window, PAGE_SIZE, UFFDIO_REGISTER_MODE_MISSING)
        copied = await sys.uffd_copy(window, LATE)
        again = await sys.uffd_copy(window, LATE)
        answers.append((registered, copied, again, await sys.pread(fd, PAGE_SIZE)))
    return tuple(answers)


async def minor_faults(sys: Syscalls, _: int) -> tuple[Any, ...]:
    """UFFDIO_CONTINUE for a page that the file has and the mapping has not."""
    answers: list[Any] = []
    for prot, seals in ((PROT_READ | PROT_WRITE, 0), (PROT_READ, 0), (PROT_READ, F_SEAL_WRITE)):
        fd, window = await window_on_a_memfd(sys, prot, MAP_SHARED, seals)
        registered = await sys.uffd_register(window, PAGE_SIZE, UFFDIO_REGISTER_MODE_MINOR)
        continued = await sys.uffd_continue(window)
        answers.append((registered, continued, await sys.store(window, LATE), await sys.pread(fd, PAGE_SIZE)))
    return tuple(answers)


async def not_needed(sys: Syscalls, _: int) -> tuple[Any, ...]:
    _, shared = await window_on_a_memfd(sys)
    await sys.store(shared, LATE)
    fd, private = await window_on_a_memfd(sys, flags=MAP_PRIVATE)
    await sys.store(private, LATE)
    dropped = [await sys.madvise(window, PAGE_SIZE, MADV_DONTNEED) for window in (shared, private)]
    seen = [await sys.load(window) for window in (shared, private)]
    return (*dropped, *seen, await sys.compact_memory(), await sys.pread(fd, PAGE_SIZE))


ZEROS = fill(b"\0")
UNMAPPED = (-EIO, -EFAULT)
expected = {
    registered_buffer: (-EBUSY, PAGE_SIZE, LATE, (0, -ENXIO), -EFAULT, 0),
    unregistrable_buffers: (-EFAULT, -EFAULT, -EFAULT),
    writers_of_memory: (
        (PAGE_SIZE, PAGE_SIZE, LATE, LATE, 0),
        UNMAPPED,
        (-EFAULT, -EIO, ORIG, ORIG, 0),
        UNMAPPED,
        (-EFAULT, -EIO, ORIG, ORIG, -EACCES),
        UNMAPPED,
        (-EFAULT, -EIO, ORIG, ORIG, -EACCES),
        UNMAPPED,
        (-EFAULT, PAGE_SIZE, LATE, ORIG, 0),
        UNMAPPED,
        (PAGE_SIZE, PAGE_SIZE, LATE, ORIG, 0),
        UNMAPPED,
    ),
    read_only_memory: (-EFAULT, -EIO, ORIG, -EACCES, ORIG),
    missing_pages: (
        (0, PAGE_SIZE, -EEXIST, LATE),
        (0, PAGE_SIZE, -EEXIST, LATE),
        (-EPERM, -ENOENT, -ENOENT, ZEROS),
        (-EPERM, -ENOENT, -ENOENT, ZEROS),
        (0, PAGE_SIZE, -EEXIST, ZEROS),
    ),
    minor_faults: (
        (0, PAGE_SIZE, None, LATE),
        (0, PAGE_SIZE, SIGSEGV, ORIG),
        (-EPERM, -ENOENT, SIGSEGV, ORIG),
    ),
    not_needed: (0, 0, LATE, ORIG, 0, ORIG),
}

together = Scenario(setup=setup, threads=tuple(process(case) for case in expected), devices=(SLOW,))
alone = {case.__name__: Scenario(setup=setup, threads=(case,), devices=(SLOW,)) for case in expected}
