"""A debugger reads a page of the memfd through /proc/PID/mem at the moment it is sealed.

Whoever only reads does not endanger the seal.  A design that takes every reference for a writer may refuse it.

    debugger    (own process) reads the owner's private mapping through /proc/PID/mem
    owner       adds F_SEAL_WRITE
"""

from __future__ import annotations

from mmsim.scenario import Scenario, process
from mmsim.syscalls import (
    EBUSY,
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS


async def setup(sys: Syscalls) -> tuple[int, int]:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    window = await sys.mmap(fd, PROT_READ, MAP_PRIVATE)
    await sys.load(window)
    return fd, window


async def debugger(sys: Syscalls, shared: tuple[int, int]) -> bytes | int:
    return await sys.mem_read(shared[1], PAGE_SIZE, owner)


async def owner(sys: Syscalls, shared: tuple[int, int]) -> int:
    return await sys.add_seals(shared[0], F_SEAL_WRITE)


def the_debugger_sees_the_file(debugger: bytes | int) -> bool:
    return debugger == fill(b"orig")


def seal_granted(owner: int) -> bool:
    return owner == 0


def seal_refused(owner: int) -> bool:
    return owner == -EBUSY


scenario = Scenario(
    question="references",
    sibling="process_vm_write_outlives_munmap",
    setup=setup,
    threads=(process(debugger), owner),
    always=(the_debugger_sees_the_file,),
    sometimes=(seal_granted,),
    needless=(seal_refused,),
    expect={OTHERS: HOLDS},
)
