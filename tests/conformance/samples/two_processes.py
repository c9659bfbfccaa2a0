"""A direct read into a mapping of another process than the one that seals; its process exits with the read in flight.

reader    (a process of its own) submits the read into its own mapping and exits
sealer    adds F_SEAL_WRITE until it is granted, reading the file each time
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario, process
from mmsim.syscalls import (
    EBUSY,
    F_SEAL_WRITE,
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
class Shared:
    fd: int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.ftruncate(fd, PAGE_SIZE)
    await sys.pwrite(fd, fill(b"old."))
    return Shared(fd)


async def reader(sys: Syscalls, s: Shared) -> bool:
    buffer = await sys.mmap(s.fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    if buffer < 0:
        return False
    io = await sys.submit_direct_read(SLOW, buffer, fill(b"new!"))
    await sys.exit()
    return not isinstance(io, int)


async def sealer(sys: Syscalls, s: Shared) -> tuple[int, bool]:
    sealed = await sys.add_seals(s.fd, F_SEAL_WRITE)
    first, second = await sys.pread(s.fd, PAGE_SIZE), await sys.pread(s.fd, PAGE_SIZE)
    return sealed, first == second


scenario = Scenario(setup=setup, threads=(sealer, process(reader)), devices=(SLOW,))
allowed = frozenset(
    (("sealer", (sealed, same)), ("reader", submitted))
    for sealed, same, submitted in ((0, True, False), (0, True, True), (-EBUSY, True, True), (-EBUSY, False, True))
)
