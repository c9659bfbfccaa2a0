"""A CPU that has only read a page stores through the same cached translation, while the mapping is taken away.

As `store_through_stale_tlb`, but the entry is clean: munmap() may leave it in the TLB until after `i_mmap_writable`
has fallen.  That is safe because the first store must set the dirty bit in the page table, where it finds no entry.

    writer      (one CPU) loads through the mapping, then stores
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
    await sys.pwrite(fd, fill(b"orig"))
    return Shared(fd, await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED))


async def writer(sys: Syscalls, shared: Shared) -> tuple[bytes | signal.Signals, Fault]:
    return await sys.load(shared.window), await sys.store(shared.window, fill(b"late"))


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


def store_landed(writer: tuple[bytes | signal.Signals, Fault]) -> bool:
    return writer == (fill(b"orig"), None)


def unmapped_between_load_and_store(writer: tuple[bytes | signal.Signals, Fault]) -> bool:
    return writer == (fill(b"orig"), SIGSEGV)


scenario = Scenario(
    question="mapping",
    sibling="dio_races_munmap",
    setup=setup,
    threads=(writer, unmapper, sealer),
    always=(sealed_content_never_changes,),
    sometimes=(seal_granted, seal_refused, store_landed, unmapped_between_load_and_store),
    expect={OTHERS: HOLDS},
)
