"""A store faults its page in through a writable mapping that is being unmapped, and the file is being sealed.

As `dio_races_munmap`, but the late writer is a CPU: the fault that it takes must not map the page once the mapping
has left `i_mmap_writable`.

    writer      stores through the mapping, for the first time
    unmapper    unmaps the memfd
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


async def writer(sys: Syscalls, shared: Shared) -> Fault:
    return await sys.store(shared.window, fill(b"late"))


async def unmapper(sys: Syscalls, shared: Shared) -> int:
    return await sys.munmap(shared.window)


async def sealer(sys: Syscalls, shared: Shared) -> Seen:
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(shared.fd, PAGE_SIZE), await sys.pread(shared.fd, PAGE_SIZE))


def sealed_content_never_changes(sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == sealer.second


def sealed_content_has_the_store(writer: Fault, sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == fill(b"orig" if writer else b"late")


def seal_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


def seal_refused(sealer: Seen) -> bool:
    return sealer.sealed == -EBUSY


def store_landed(writer: Fault) -> bool:
    return writer is None


def store_came_too_late(writer: Fault) -> bool:
    return writer == SIGSEGV


scenario = Scenario(
    question="mapping",
    sibling="dio_races_munmap",
    setup=setup,
    threads=(writer, unmapper, sealer),
    always=(sealed_content_never_changes, sealed_content_has_the_store),
    sometimes=(seal_granted, seal_refused, store_landed, store_came_too_late),
    expect={OTHERS: HOLDS},
)
