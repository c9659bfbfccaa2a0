"""F_SEAL_WRITE alone does not freeze content: cutting the file and growing it again puts zeros in its place.

As `seal_write_and_shrink`, but without F_SEAL_SHRINK.  No strategy is at fault: F_SEAL_WRITE forbids changes by
writing, not by truncation, and the property asked here is one that it does not promise.

    truncater    cuts the file to nothing, then grows it to its old size
    sealer       adds F_SEAL_WRITE, then reads the file twice
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    F_SEAL_WRITE,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    Syscalls,
    fill,
)
from mmsim.verdict import OTHERS, VIOLATED


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
    sealed = await sys.add_seals(fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(fd, PAGE_SIZE), await sys.pread(fd, PAGE_SIZE))


def no_byte_below_the_size_changes(sealer: Seen) -> bool:
    if sealer.sealed != 0 or isinstance(sealer.first, int) or isinstance(sealer.second, int):
        return sealer.sealed != 0
    return sealer.second.startswith(sealer.first)


def seal_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


scenario = Scenario(
    question="other seals",
    setup=setup,
    threads=(truncater, sealer),
    always=(no_byte_below_the_size_changes,),
    sometimes=(seal_granted,),
    model_only=True,
    expect={OTHERS: VIOLATED},
)
