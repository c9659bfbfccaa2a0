"""A dma-buf made of a memfd's pages goes on writing them: only the references to the pages tell.

The dma-buf's mapping counts in the dma-buf's own inode, and no mapping of the memfd ever showed these pages to it.  A
design that looks at every reference sees them, and since v6.11, when udmabuf began to pin them with FOLL_PIN, so does
one that counts pins on the page; one that asks munmap() what is still pinned is never told.

    writer    stores through a mapping of the dma-buf
    sealer    adds F_SEAL_WRITE, then reads the file twice
"""

from __future__ import annotations

import signal

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
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
    await sys.pwrite(fd, fill(b"orig"))
    await sys.add_seals(fd, F_SEAL_SHRINK)
    buffer = await sys.udmabuf_create(fd, 0, PAGE_SIZE)
    return Shared(fd, await sys.mmap(buffer, PROT_READ | PROT_WRITE, MAP_SHARED))


async def writer(sys: Syscalls, shared: Shared) -> signal.Signals | None:
    return await sys.store(shared.buffer, fill(b"late"))


async def sealer(sys: Syscalls, shared: Shared) -> Seen:
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(shared.fd, PAGE_SIZE), await sys.pread(shared.fd, PAGE_SIZE))


def sealed_content_never_changes(sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == sealer.second


def the_dma_buf_can_be_written(writer: signal.Signals | None) -> bool:
    return writer is None


def file_is_read(sealer: Seen) -> bool:
    return sealer.second == fill(b"late")


scenario = Scenario(
    question="references",
    setup=setup,
    threads=(writer, sealer),
    always=(sealed_content_never_changes, the_dma_buf_can_be_written),
    sometimes=(file_is_read,),
    release="v6.13",
    expect={
        OTHERS: HOLDS,
        "sealing_v2": VIOLATED,
        "delayed_unmap": VIOLATED,  # as all of its family: no munmap() is asked
        "delayed_unmap_mutex": VIOLATED,
        "delayed_unmap_irq_lock": VIOLATED,
        "delayed_unmap_irqsave": VIOLATED,
        "delayed_unmap_look_first": VIOLATED,
        "delayed_unmap_sync": VIOLATED,
        "leftover_flag": VIOLATED,
    },
    model_only=True,
)
