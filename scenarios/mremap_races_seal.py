"""A counted mapping moves: there is no moment at which neither the old place nor the new one counts.

mremap() links the copy before it unmaps the original, so F_SEAL_WRITE is refused throughout.

    mover     moves the mapping by growing it, stores through it
    sealer    adds F_SEAL_WRITE
"""

from __future__ import annotations

import signal

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EBUSY,
    ENOMEM,
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    MREMAP_MAYMOVE,
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
    await sys.pwrite(fd, fill(b"orig"))
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.store(buffer, fill(b"orig"))
    await sys.mmap(fd, PROT_READ, MAP_PRIVATE)  # in the way of what would grow in place
    return Shared(fd, buffer)


async def mover(sys: Syscalls, shared: Shared) -> tuple[bool, signal.Signals | None]:
    moved = await sys.mremap(shared.buffer, PAGE_SIZE, 2 * PAGE_SIZE, MREMAP_MAYMOVE)
    return moved not in (shared.buffer, -ENOMEM), await sys.store(moved, fill(b"late"))


async def sealer(sys: Syscalls, shared: Shared) -> int:
    return await sys.add_seals(shared.fd, F_SEAL_WRITE)


def seal_is_refused(sealer: int) -> bool:
    return sealer == -EBUSY


def moved_and_stored(mover: tuple[bool, signal.Signals | None]) -> bool:
    return mover == (True, None)


scenario = Scenario(
    question="mapping",
    sibling="mremap_then_late_io",
    setup=setup,
    threads=(mover, sealer),
    always=(seal_is_refused, moved_and_stored),
    sometimes=(moved_and_stored,),
    model_only=True,  # where a real kernel puts a mapping that moves is its own affair
    expect={OTHERS: HOLDS},
)
