"""A CPU stores to a page of a file while the flusher writes it to a disk that checksums what it is given.

As `writeback_of_a_pinned_page`, but who stores faults, and waits until the disk has read the page.

    storer    stores twice
"""

from __future__ import annotations

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    MAP_SHARED,
    O_CREAT,
    O_RDWR,
    PROT_READ,
    PROT_WRITE,
    Mount,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS

FILES = Mount("disk", "ext4", checksums=True)


async def setup(sys: Syscalls) -> int:
    fd = await sys.open(FILES, "frame", O_RDWR | O_CREAT)
    await sys.pwrite(fd, fill(b"orig"))
    return await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)


async def storer(sys: Syscalls, window: int) -> bool:
    await sys.store(window, fill(b"next"))
    return await sys.store(window, fill(b"late")) is None


def it_completes(storer: bool) -> bool:
    return storer


scenario = Scenario(
    question="kept",
    sibling="writeback_of_a_pinned_page",
    setup=setup,
    threads=(storer,),
    mounts=(FILES,),
    sometimes=(it_completes,),
    expect={OTHERS: HOLDS},
)
