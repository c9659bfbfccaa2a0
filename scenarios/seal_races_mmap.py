"""A writable shared mapping and a seal race for `i_mmap_writable`: at most one of them wins.

mmap() raises the counter unless it is negative, the seal takes it to -1 unless it is positive; each is one atomic step.

    mapper    maps the memfd writably and shared, and stores through the mapping it keeps
    sealer    adds F_SEAL_WRITE, then reads the file twice
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EBUSY,
    EPERM,
    F_SEAL_WRITE,
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
class Seen:
    sealed: int
    first: bytes | int
    second: bytes | int


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    return fd


async def mapper(sys: Syscalls, fd: int) -> int:
    window = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    if window < 0:
        return window
    await sys.store(window, fill(b"late"))
    return 0


async def sealer(sys: Syscalls, fd: int) -> Seen:
    sealed = await sys.add_seals(fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(fd, PAGE_SIZE), await sys.pread(fd, PAGE_SIZE))


def sealed_content_never_changes(sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == sealer.second


def never_both(mapper: int, sealer: Seen) -> bool:
    return mapper != 0 or sealer.sealed != 0


def mapping_refused(mapper: int) -> bool:
    return mapper == -EPERM


def seal_refused(sealer: Seen) -> bool:
    return sealer.sealed == -EBUSY


scenario = Scenario(
    question="mapping",
    sibling="dio_from_another_process",
    setup=setup,
    threads=(mapper, sealer),
    always=(sealed_content_never_changes, never_both),
    sometimes=(mapping_refused, seal_refused),
    expect={OTHERS: HOLDS},
)
