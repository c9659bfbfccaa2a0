"""A write that makes the file larger races F_SEAL_GROW.

The seal is looked at for each page of the write: what is written before it stays, what comes after is refused.

    writer    writes two pages into a file of one
    sealer    adds F_SEAL_GROW, then reads the file twice
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    F_SEAL_GROW,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
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


async def writer(sys: Syscalls, fd: int) -> int:
    return await sys.pwrite(fd, fill(b"next", 2))


async def sealer(sys: Syscalls, fd: int) -> Seen:
    sealed = await sys.add_seals(fd, F_SEAL_GROW)
    return Seen(sealed, await sys.pread(fd, 3 * PAGE_SIZE), await sys.pread(fd, 3 * PAGE_SIZE))


def sealed_size_never_grows(sealer: Seen) -> bool:
    if isinstance(sealer.first, int) or isinstance(sealer.second, int):
        return False
    return len(sealer.first) == len(sealer.second)


def seal_is_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


def whole_write_before_the_seal(writer: int) -> bool:
    return writer == 2 * PAGE_SIZE


def cut_short_by_the_seal(writer: int) -> bool:
    return writer == PAGE_SIZE


scenario = Scenario(
    question="other seals",
    sibling="shrink_seal_races_truncate",
    setup=setup,
    threads=(writer, sealer),
    always=(sealed_size_never_grows, seal_is_granted),
    sometimes=(whole_write_before_the_seal, cut_short_by_the_seal),
    expect={OTHERS: HOLDS},
)
