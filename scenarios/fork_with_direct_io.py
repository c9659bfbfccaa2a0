"""A direct read fills a private page, the process forks, and then stores to another part of that page.

fork() write-protects the page for both, the store gives the parent a copy, and the device writes the page that is now
the child's: the data is lost.  Fixed in v5.9 for pages pinned with FOLL_PIN, which direct I/O does since v6.5.

    parent    starts a direct read into its private page, forks, stores to the page, waits for the device
    child     does nothing
"""

from __future__ import annotations

import signal

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    MAP_PRIVATE,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Device,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, VIOLATED

SLOW = Device("slow")
HALF = PAGE_SIZE // 2


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame")
    await sys.pwrite(fd, fill(b"orig"))
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE)
    await sys.store(buffer, fill(b"mine"))
    return buffer


async def parent(sys: Syscalls, buffer: int) -> bytes | signal.Signals:
    io = await sys.submit_direct_read(SLOW, buffer, fill(b"data"))
    await sys.fork(child)
    await sys.store(buffer + HALF, b"self")
    await sys.wait_for(io)
    return await sys.load(buffer, 4)


async def child(sys: Syscalls, buffer: int) -> None:
    return None


def what_was_read_is_there(parent: bytes | signal.Signals) -> bool:
    return parent == b"data"


def data_arrived(parent: bytes | signal.Signals) -> bool:
    return parent == b"data"


scenario = Scenario(
    question="history",
    setup=setup,
    threads=(parent,),
    children=(child,),
    devices=(SLOW,),
    always=(what_was_read_is_there,),
    sometimes=(data_arrived,),
    history={"v3.17": VIOLATED, "v5.11": VIOLATED, "v6.5": HOLDS},
    words_per_page=2,
    model_only=True,
)
