"""A mapping moves while its page is truncated, and a third CPU still knows the page under the old address.

mremap() flushed the old address after it had dropped the page-table lock, and truncation flushes the new one only: the
page was freed with a translation left (CVE-2018-18281).  Fixed in v4.19 by flushing under the lock.

    mover        moves the mapping by growing it
    truncater    cuts the file to nothing
    writer       stores through the old address
"""

from __future__ import annotations

import signal

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    MREMAP_MAYMOVE,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    SIGSEGV,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, VIOLATED


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


async def mover(sys: Syscalls, shared: Shared) -> bool:
    return await sys.mremap(shared.buffer, PAGE_SIZE, 2 * PAGE_SIZE, MREMAP_MAYMOVE) > 0


async def truncater(sys: Syscalls, shared: Shared) -> int:
    return await sys.ftruncate(shared.fd, 0)


async def writer(sys: Syscalls, shared: Shared) -> tuple[signal.Signals | None, signal.Signals | None]:
    return await sys.store(shared.buffer, fill(b"next")), await sys.store(shared.buffer, fill(b"last"))


def moved(mover: bool) -> bool:
    return mover


def stored_before_it_moved(writer: tuple[signal.Signals | None, signal.Signals | None]) -> bool:
    return writer == (None, SIGSEGV)


scenario = Scenario(
    question="history",
    setup=setup,
    threads=(mover, truncater, writer),
    always=(moved,),
    sometimes=(moved, stored_before_it_moved),
    history={"v3.17": VIOLATED, "v4.18": VIOLATED, "v4.19": HOLDS},
    model_only=True,
)
