"""A read-only mapping of a file sealed with F_SEAL_FUTURE_WRITE cannot be made writable later.

mmap() takes VM_MAYWRITE away from it; one that was made before the seal keeps it.

    mapper    looks at the seals, maps the file read-only and shared, then asks mprotect() for PROT_WRITE
    sealer    adds F_SEAL_FUTURE_WRITE
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EACCES,
    F_SEAL_FUTURE_WRITE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS


@attrs.frozen
class Mapped:
    seals: int
    made_writable: int


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    return fd


async def mapper(sys: Syscalls, fd: int) -> Mapped:
    seals = await sys.get_seals(fd)
    window = await sys.mmap(fd, PROT_READ, MAP_SHARED)
    return Mapped(seals, await sys.mprotect(window, PAGE_SIZE, PROT_READ | PROT_WRITE))


async def sealer(sys: Syscalls, fd: int) -> int:
    return await sys.add_seals(fd, F_SEAL_FUTURE_WRITE)


def seal_is_granted(sealer: int) -> bool:
    return sealer == 0


def not_writable_once_it_is_sealed(mapper: Mapped) -> bool:
    return mapper.made_writable == -EACCES or not mapper.seals & F_SEAL_FUTURE_WRITE


def made_writable(mapper: Mapped) -> bool:
    return mapper.made_writable == 0


def sealed_before_it_was_mapped(mapper: Mapped) -> bool:
    return mapper.made_writable == -EACCES


scenario = Scenario(
    question="other seals",
    sibling="future_write_then_write",
    setup=setup,
    threads=(mapper, sealer),
    always=(seal_is_granted, not_writable_once_it_is_sealed),
    sometimes=(made_writable, sealed_before_it_was_mapped),
    release="v5.1",
    expect={OTHERS: HOLDS},
)
