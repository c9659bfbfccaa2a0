"""Loads and stores that fault: each answers with its signal and the program goes on."""

from __future__ import annotations

from signal import Signals

from mmsim.scenario import Scenario
from mmsim.syscalls import MAP_PRIVATE, MAP_SHARED, MFD_ALLOW_SEALING, PAGE_SIZE, PROT_READ, PROT_WRITE, Syscalls, fill


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.ftruncate(fd, PAGE_SIZE)
    return fd


async def program(sys: Syscalls, fd: int) -> tuple[object, ...]:
    both = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED, 2 * PAGE_SIZE)
    await sys.store(both, fill(b"0123"))
    whole = await sys.load(both) == await sys.pread(fd, PAGE_SIZE) == fill(b"0123")
    stored = await sys.store(both, b"shared")
    beyond = await sys.store(both + PAGE_SIZE, b"x")
    torn = await sys.store(both + PAGE_SIZE - 2, b"xxxx")
    private = await sys.mmap(fd, PROT_READ, MAP_PRIVATE)
    read_only = await sys.store(private, b"x")
    seen = await sys.load(private, 6)
    await sys.munmap(private)
    gone = await sys.load(private, 1)
    descriptors = (fd, await sys.dup(fd), await sys.close(99), await sys.close(1))
    return (
        stored,
        beyond,
        torn,
        read_only,
        seen,
        gone,
        await sys.load(-14, 8),
        await sys.pread(fd, 9, 4094),
        descriptors,
        whole,
    )


expected = (
    None,
    Signals.SIGBUS,
    Signals.SIGBUS,
    Signals.SIGSEGV,
    b"shared",
    Signals.SIGSEGV,
    Signals.SIGSEGV,
    b"xx",
    (3, 4, -9, -9),
    True,
)
scenario = Scenario(setup=setup, threads=(program,))
