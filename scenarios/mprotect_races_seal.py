"""A mapping that is read-only for a while can be made writable again, so F_SEAL_WRITE waits for it all the same.

i_mmap_writable counts who may ever write: mprotect() has no part in it.

    writer    makes its mapping read-only, makes it writable again, stores through it, unmaps it
    sealer    adds F_SEAL_WRITE, then reads the file twice
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
from mmsim.verdict import HOLDS, OTHERS


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
    await sys.pwrite(fd, fill(b"orig"))
    return Shared(fd, await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED))


async def writer(sys: Syscalls, shared: Shared) -> tuple[int, signal.Signals | None]:
    await sys.mprotect(shared.buffer, PAGE_SIZE, PROT_READ)
    again = await sys.mprotect(shared.buffer, PAGE_SIZE, PROT_READ | PROT_WRITE)
    fault = await sys.store(shared.buffer, fill(b"late"))
    await sys.munmap(shared.buffer)
    return again, fault


async def sealer(sys: Syscalls, shared: Shared) -> Seen:
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(shared.fd, PAGE_SIZE), await sys.pread(shared.fd, PAGE_SIZE))


def sealed_content_never_changes(sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == sealer.second


def sealed_content_has_the_store(sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == fill(b"late")


def an_old_mapping_is_made_writable_and_written(writer: tuple[int, signal.Signals | None]) -> bool:
    return writer == (0, None)


def seal_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


def seal_refused(sealer: Seen) -> bool:
    return sealer.sealed == -EBUSY


scenario = Scenario(
    question="mapping",
    sibling="dio_races_munmap",
    setup=setup,
    threads=(writer, sealer),
    always=(sealed_content_never_changes, sealed_content_has_the_store, an_old_mapping_is_made_writable_and_written),
    sometimes=(seal_granted, seal_refused),
    expect={OTHERS: HOLDS},
)
