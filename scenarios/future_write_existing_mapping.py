"""F_SEAL_FUTURE_WRITE stops new writers at once, and leaves those that there are alone.

Unlike F_SEAL_WRITE it asks nobody, so a mapping made before goes on writing to the file.

    writer    stores through a mapping that was there before the seal
    sealer    adds F_SEAL_FUTURE_WRITE, reads the file, tries to write it and to map it for writing, reads it again
"""

from __future__ import annotations

import signal

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EPERM,
    F_SEAL_FUTURE_WRITE,
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
    written: int
    mapped: int
    second: bytes | int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    return Shared(fd, await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED))


async def writer(sys: Syscalls, shared: Shared) -> signal.Signals | None:
    return await sys.store(shared.buffer, fill(b"next"))


async def sealer(sys: Syscalls, shared: Shared) -> Seen:
    return Seen(
        await sys.add_seals(shared.fd, F_SEAL_FUTURE_WRITE),
        await sys.pread(shared.fd, PAGE_SIZE),
        await sys.pwrite(shared.fd, fill(b"late")),
        await sys.mmap(shared.fd, PROT_READ | PROT_WRITE, MAP_SHARED),
        await sys.pread(shared.fd, PAGE_SIZE),
    )


def seal_is_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


def no_new_writer(sealer: Seen) -> bool:
    return sealer.written == sealer.mapped == -EPERM and sealer.second in (fill(b"orig"), fill(b"next"))


def the_old_mapping_still_writes(writer: signal.Signals | None) -> bool:
    return writer is None


def content_changes_after_the_seal(sealer: Seen) -> bool:
    return sealer.first != sealer.second


scenario = Scenario(
    question="other seals",
    sibling="future_write_then_write",
    setup=setup,
    threads=(writer, sealer),
    always=(seal_is_granted, no_new_writer, the_old_mapping_still_writes),
    sometimes=(content_changes_after_the_seal,),
    release="v5.1",
    expect={OTHERS: HOLDS},
)
