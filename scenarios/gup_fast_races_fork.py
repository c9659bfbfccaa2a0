"""A page is pinned without a lock while fork() looks whether it is pinned.

As `fork_with_direct_io`, but for RDMA, which pins with FOLL_PIN since v5.7: fork() finds no pin, the pin comes, its
second look at the page table is still early enough, and then fork() write-protects the page all the same.  Fixed in
v5.11 by a sequence count around fork() that get_user_pages_fast() looks at before and after.

    reader    has the network card fill a private page, waits for it
    forker    forks, then stores to the page
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

NIC = Device("nic", transport="rdma")
HALF = PAGE_SIZE // 2


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame")
    await sys.pwrite(fd, fill(b"orig"))
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE)
    await sys.store(buffer, fill(b"mine"))
    return buffer


async def reader(sys: Syscalls, buffer: int) -> bytes | signal.Signals:
    await sys.wait_for(await sys.submit_direct_read(NIC, buffer, fill(b"data")))
    return await sys.load(buffer, 4)


async def forker(sys: Syscalls, buffer: int) -> signal.Signals | None:
    await sys.fork(child)
    return await sys.store(buffer + HALF, b"self")


async def child(sys: Syscalls, buffer: int) -> None:
    return None


def what_was_read_is_there(reader: bytes | signal.Signals) -> bool:
    return reader == b"data"


def data_arrived(reader: bytes | signal.Signals) -> bool:
    return reader == b"data"


scenario = Scenario(
    question="history",
    setup=setup,
    threads=(reader, forker),
    children=(child,),
    devices=(NIC,),
    always=(what_was_read_is_there,),
    sometimes=(data_arrived,),
    release="v5.10",
    history={"v5.10": VIOLATED, "v5.11": HOLDS},
    words_per_page=2,
    model_only=True,
)
