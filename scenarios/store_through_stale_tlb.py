"""A CPU stores through a translation that it has cached, while another CPU takes the mapping away.

As `seal_races_fault`, but the page is mapped and dirty: munmap() must flush the writer's TLB entry before
`i_mmap_writable` falls, or a store lands after the seal with no page table left to stop it.

    writer      (one CPU) stores through the mapping, again and again
    unmapper    (another CPU) unmaps the memfd
    sealer      adds F_SEAL_WRITE, then reads the file twice
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
    SIGSEGV,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS

Fault = signal.Signals | None


@attrs.frozen
class Shared:
    fd: int
    window: int


@attrs.frozen
class Seen:
    sealed: int
    first: bytes | int
    second: bytes | int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.ftruncate(fd, PAGE_SIZE)
    window = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.store(window, fill(b"orig"))
    return Shared(fd, window)


async def writer(sys: Syscalls, shared: Shared) -> tuple[Fault, Fault]:
    return await sys.store(shared.window, fill(b"next")), await sys.store(shared.window, fill(b"last"))


async def unmapper(sys: Syscalls, shared: Shared) -> int:
    return await sys.munmap(shared.window)


async def sealer(sys: Syscalls, shared: Shared) -> Seen:
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(shared.fd, PAGE_SIZE), await sys.pread(shared.fd, PAGE_SIZE))


def sealed_content_never_changes(sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == sealer.second


def seal_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


def seal_refused(sealer: Seen) -> bool:
    return sealer.sealed == -EBUSY


def both_stores_landed(writer: tuple[Fault, Fault]) -> bool:
    return writer == (None, None)


def unmapped_between_the_stores(writer: tuple[Fault, Fault]) -> bool:
    return writer == (None, SIGSEGV)


scenario = Scenario(
    question="mapping",
    sibling="dio_races_munmap",
    setup=setup,
    threads=(writer, unmapper, sealer),
    always=(sealed_content_never_changes,),
    sometimes=(seal_granted, seal_refused, both_stores_landed, unmapped_between_the_stores),
    expect={OTHERS: HOLDS},
)
