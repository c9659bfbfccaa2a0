"""munmap() lowers the counter before other CPUs have forgotten the mapping, as it did up to v3.14.

As `store_through_stale_tlb`, but on the kernel that came before "flush under the page-table lock where a dirty shared
entry was cleared" (v3.15).  Seals are younger; were the patchset applied there, the counter alone would let a store
through.  Who looks at references is saved by the one that the unmapping still holds, until after the flush.

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
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS, VIOLATED


@attrs.frozen
class Shared:
    fd: int
    buffer: int


@attrs.frozen
class Seen:
    sealed: int
    first: bytes | int
    second: bytes | int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.ftruncate(fd, PAGE_SIZE)
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.store(buffer, fill(b"orig"))
    return Shared(fd, buffer)


async def writer(sys: Syscalls, shared: Shared) -> tuple[signal.Signals | None, signal.Signals | None]:
    return await sys.store(shared.buffer, fill(b"next")), await sys.store(shared.buffer, fill(b"last"))


async def unmapper(sys: Syscalls, shared: Shared) -> int:
    return await sys.munmap(shared.buffer)


async def sealer(sys: Syscalls, shared: Shared) -> Seen:
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(shared.fd, PAGE_SIZE), await sys.pread(shared.fd, PAGE_SIZE))


def sealed_content_never_changes(sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == sealer.second


def seal_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


def seal_refused(sealer: Seen) -> bool:
    return sealer.sealed == -EBUSY


scenario = Scenario(
    question="history",
    setup=setup,
    threads=(writer, unmapper, sealer),
    always=(sealed_content_never_changes,),
    sometimes=(seal_granted, seal_refused),
    release="v3.14",
    expect={
        OTHERS: VIOLATED,  # the counter falls before the TLBs are flushed; a reference is dropped only after that
        "wait_for_pins": HOLDS,
        "page_replacement": HOLDS,
        "refuse_if_pinned": HOLDS,
        "copy_on_seal": HOLDS,
        "unmap_then_wait": HOLDS,
        "unmap_then_replace": HOLDS,
    },
    model_only=True,
)
