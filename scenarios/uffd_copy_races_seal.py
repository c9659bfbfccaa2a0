"""UFFDIO_COPY fills a hole of a memfd that is being unmapped and sealed.

It needs a mapping that may be written and holds mmap_lock until the page is there, so it is over before the counter
falls.  `uffd_fills_sealed_hole` is a hole that was left open.

    filler    UFFDIO_COPY to the hole
    sealer    unmaps the memfd, adds F_SEAL_WRITE, reads the file twice
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    ENOENT,
    F_SEAL_WRITE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    UFFDIO_REGISTER_MODE_MISSING,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS, VIOLATED


@attrs.frozen
class Seen:
    sealed: int
    first: bytes | int
    second: bytes | int


async def setup(sys: Syscalls) -> tuple[int, int]:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.ftruncate(fd, PAGE_SIZE)
    window = await sys.mmap(fd, PROT_READ, MAP_SHARED)
    await sys.uffd_register(window, PAGE_SIZE, UFFDIO_REGISTER_MODE_MISSING)
    return fd, window


async def filler(sys: Syscalls, shared: tuple[int, int]) -> int:
    return await sys.uffd_copy(shared[1], fill(b"late"))


async def sealer(sys: Syscalls, shared: tuple[int, int]) -> Seen:
    await sys.munmap(shared[1])
    sealed = await sys.add_seals(shared[0], F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(shared[0], PAGE_SIZE), await sys.pread(shared[0], PAGE_SIZE))


def sealed_content_never_changes(sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == sealer.second


def filled_and_then_sealed(filler: int, sealer: Seen) -> bool:
    return filler == PAGE_SIZE and sealer.sealed == 0 and sealer.first == fill(b"late")


def sealed_and_nothing_to_fill(filler: int, sealer: Seen) -> bool:
    return filler == -ENOENT and sealer.sealed == 0


scenario = Scenario(
    question="mapping",
    setup=setup,
    threads=(filler, sealer),
    always=(sealed_content_never_changes,),
    sometimes=(filled_and_then_sealed, sealed_and_nothing_to_fill),
    expect={OTHERS: HOLDS, "leftover_flag": VIOLATED},
    release="v5.10",
)
