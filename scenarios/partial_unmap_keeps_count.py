"""Half of a counted mapping is unmapped: what is left counts on.

munmap() splits the mapping first, and each piece counts before the whole does not.

    unmapper    unmaps the first of two pages, stores to the second
    sealer      adds F_SEAL_WRITE
"""

from __future__ import annotations

import signal

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EBUSY,
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
class Shared:
    fd: int
    buffer: int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig", 2))
    return Shared(fd, await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED, 2 * PAGE_SIZE))


async def unmapper(sys: Syscalls, shared: Shared) -> tuple[int, signal.Signals | None]:
    unmapped = await sys.munmap(shared.buffer, PAGE_SIZE)
    return unmapped, await sys.store(shared.buffer + PAGE_SIZE, fill(b"late"))


async def sealer(sys: Syscalls, shared: Shared) -> int:
    return await sys.add_seals(shared.fd, F_SEAL_WRITE)


def seal_is_refused(sealer: int) -> bool:
    return sealer == -EBUSY


def the_rest_can_be_written(unmapper: tuple[int, signal.Signals | None]) -> bool:
    return unmapper == (0, None)


scenario = Scenario(
    question="mapping",
    sibling="munmap_of_half",
    setup=setup,
    threads=(unmapper, sealer),
    always=(seal_is_refused,),
    sometimes=(the_rest_can_be_written,),
    expect={OTHERS: HOLDS},
)
