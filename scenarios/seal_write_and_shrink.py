"""F_SEAL_WRITE with F_SEAL_SHRINK freezes content: no byte below the size ever changes, by any means.

Growing stays allowed, so a second look may find more than the first, but nothing else in place of it.

    truncater    cuts the file to nothing, then grows it to its old size
    sealer       adds F_SEAL_WRITE and F_SEAL_SHRINK, then reads the file twice
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EPERM,
    F_SEAL_SHRINK,
    F_SEAL_WRITE,
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


async def truncater(sys: Syscalls, fd: int) -> tuple[int, int]:
    return await sys.ftruncate(fd, 0), await sys.ftruncate(fd, PAGE_SIZE)


async def sealer(sys: Syscalls, fd: int) -> Seen:
    sealed = await sys.add_seals(fd, F_SEAL_WRITE | F_SEAL_SHRINK)
    return Seen(sealed, await sys.pread(fd, PAGE_SIZE), await sys.pread(fd, PAGE_SIZE))


def no_byte_below_the_size_changes(sealer: Seen) -> bool:
    if sealer.sealed != 0 or isinstance(sealer.first, int) or isinstance(sealer.second, int):
        return sealer.sealed != 0
    return sealer.second.startswith(sealer.first)


def truncation_refused(truncater: tuple[int, int]) -> bool:
    return truncater == (-EPERM, 0)


def sealed_while_cut(truncater: tuple[int, int], sealer: Seen) -> bool:
    return truncater == (0, 0) and sealer.sealed == 0 and sealer.first == b"" != sealer.second


def sealed_after_the_cut(sealer: Seen) -> bool:
    return sealer.sealed == 0 and sealer.first == bytes(PAGE_SIZE)


scenario = Scenario(
    question="other seals",
    sibling="truncate_under_write_seal",
    setup=setup,
    threads=(truncater, sealer),
    always=(no_byte_below_the_size_changes,),
    sometimes=(truncation_refused, sealed_while_cut, sealed_after_the_cut),
    expect={OTHERS: HOLDS},
)
