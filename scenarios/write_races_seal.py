"""write() and the seal take turns on the inode lock: a write lands before the seal or fails with EPERM.

A write that finds no seal keeps the lock until its bytes are in the page, so that no seal can be granted meanwhile.

    writer    overwrites the file by pwrite()
    sealer    adds F_SEAL_WRITE, then reads the file twice
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import EPERM, F_SEAL_WRITE, MFD_ALLOW_SEALING, PAGE_SIZE, Syscalls, fill
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


async def writer(sys: Syscalls, fd: int) -> int:
    return await sys.pwrite(fd, fill(b"late"))


async def sealer(sys: Syscalls, fd: int) -> Seen:
    sealed = await sys.add_seals(fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(fd, PAGE_SIZE), await sys.pread(fd, PAGE_SIZE))


def sealed_content_never_changes(sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == sealer.second


def sealed_content_has_the_write(writer: int, sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == fill(b"late" if writer == PAGE_SIZE else b"orig")


def write_landed(writer: int) -> bool:
    return writer == PAGE_SIZE


def write_refused(writer: int) -> bool:
    return writer == -EPERM


scenario = Scenario(
    question="seal",
    sibling="dio_completes_after_seal",
    setup=setup,
    threads=(writer, sealer),
    always=(sealed_content_never_changes, sealed_content_has_the_write),
    sometimes=(write_landed, write_refused),
    expect={OTHERS: HOLDS},
)
