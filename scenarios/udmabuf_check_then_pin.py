"""A dma-buf is made of a memfd's pages while the memfd is being sealed.

UDMABUF_CREATE looked at the seals, and took the pages later: F_SEAL_WRITE in between found neither a mapping nor a
reference.  Fixed in v6.13 and v6.12.7 by holding the inode's lock over both.

    exporter    makes a dma-buf of the file, maps it, stores through the mapping
    sealer      adds F_SEAL_WRITE, then reads the file twice
"""

from __future__ import annotations

import signal

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EINVAL,
    F_SEAL_SHRINK,
    F_SEAL_WRITE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, VIOLATED


@attrs.frozen
class Seen:
    sealed: int
    first: bytes | int
    second: bytes | int


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    await sys.add_seals(fd, F_SEAL_SHRINK)
    return fd


async def exporter(sys: Syscalls, fd: int) -> signal.Signals | int | None:
    buffer = await sys.udmabuf_create(fd, 0, PAGE_SIZE)
    if buffer < 0:
        return buffer
    return await sys.store(await sys.mmap(buffer, PROT_READ | PROT_WRITE, MAP_SHARED), fill(b"late"))


async def sealer(sys: Syscalls, fd: int) -> Seen:
    sealed = await sys.add_seals(fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(fd, PAGE_SIZE), await sys.pread(fd, PAGE_SIZE))


def sealed_content_never_changes(sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == sealer.second


def seal_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


def exported(exporter: signal.Signals | int | None) -> bool:
    return exporter is None


def sealed_first(exporter: signal.Signals | int | None) -> bool:
    return exporter == -EINVAL


scenario = Scenario(
    question="history",
    setup=setup,
    threads=(exporter, sealer),
    always=(sealed_content_never_changes,),
    sometimes=(seal_granted, exported, sealed_first),
    release="v6.1",
    history={"v6.1": VIOLATED, "v6.12": VIOLATED, "v6.12.9": HOLDS, "v6.13": HOLDS},
    model_only=True,
)
