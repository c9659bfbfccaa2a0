"""A device fills a pinned page of a file while the flusher writes it to a disk that checksums what it is given.

Writeback write-protects every mapping, and whoever stores waits; a device goes on.

    reader    reads from a slow device into the mapped file
"""

from __future__ import annotations

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    MAP_SHARED,
    O_CREAT,
    O_RDWR,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Device,
    Mount,
    Syscalls,
    fill,
)
from mmsim.verdict import OTHERS, VIOLATED

FILES = Mount("disk", "ext4", checksums=True)
SLOW = Device("slow")


async def setup(sys: Syscalls) -> int:
    fd = await sys.open(FILES, "frame", O_RDWR | O_CREAT)
    await sys.pwrite(fd, fill(b"orig"))
    return await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)


async def reader(sys: Syscalls, buffer: int) -> int:
    return await sys.wait_for(await sys.submit_direct_read(SLOW, buffer, fill(b"late")))


def it_completes(reader: int) -> bool:
    return reader == PAGE_SIZE


scenario = Scenario(
    question="kept",
    setup=setup,
    threads=(reader,),
    mounts=(FILES,),
    devices=(SLOW,),
    sometimes=(it_completes,),
    expect={OTHERS: VIOLATED},
    model_only=True,
)
