"""A hole is punched into a file that is being sealed against writing.

A hole reads as zeros where something was: that is writing, and F_SEAL_WRITE forbids it.

    puncher    punches a hole of one page
    sealer     adds F_SEAL_WRITE, then reads the file twice
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EPERM,
    F_SEAL_WRITE,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
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


async def puncher(sys: Syscalls, fd: int) -> int:
    return await sys.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE_SIZE)


async def sealer(sys: Syscalls, fd: int) -> Seen:
    sealed = await sys.add_seals(fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(fd, PAGE_SIZE), await sys.pread(fd, PAGE_SIZE))


def sealed_content_never_changes(sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == sealer.second


def seal_is_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


def hole_is_there_before_the_seal_or_never(puncher: int, sealer: Seen) -> bool:
    return sealer.first == (fill(b"orig") if puncher else bytes(PAGE_SIZE))


def punched(puncher: int) -> bool:
    return puncher == 0


def sealed_first(puncher: int) -> bool:
    return puncher == -EPERM


scenario = Scenario(
    question="other seals",
    sibling="punch_hole_while_pinned",
    setup=setup,
    threads=(puncher, sealer),
    always=(sealed_content_never_changes, seal_is_granted, hole_is_there_before_the_seal_or_never),
    sometimes=(punched, sealed_first),
    expect={OTHERS: HOLDS},
)
