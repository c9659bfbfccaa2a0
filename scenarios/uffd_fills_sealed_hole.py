"""As CVE-2018-18397: UFFDIO_COPY fills a hole of a sealed memfd through a private read-only mapping.

Up to v4.19 the missing page of a private mapping was made a page of the file.  No seal is asked, no mapping is
counted.  Since v4.20 it is a private page, and a mapping that may never be written cannot be registered at all.

    filler    UFFDIO_COPY to the hole
    reader    reads the file twice
"""

from __future__ import annotations

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    UFFDIO_REGISTER_MODE_MISSING,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, VIOLATED


async def setup(sys: Syscalls) -> tuple[int, int]:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.ftruncate(fd, PAGE_SIZE)
    await sys.add_seals(fd, F_SEAL_WRITE)
    window = await sys.mmap(fd, PROT_READ, MAP_PRIVATE)
    await sys.uffd_register(window, PAGE_SIZE, UFFDIO_REGISTER_MODE_MISSING)
    return fd, window


async def filler(sys: Syscalls, shared: tuple[int, int]) -> int:
    return await sys.uffd_copy(shared[1], fill(b"evil"))


async def reader(sys: Syscalls, shared: tuple[int, int]) -> tuple[bytes | int, bytes | int]:
    return await sys.pread(shared[0], PAGE_SIZE), await sys.pread(shared[0], PAGE_SIZE)


def the_page_is_filled(filler: int) -> bool:
    return filler == PAGE_SIZE


def nobody_sees_the_file_change(reader: tuple[bytes | int, bytes | int]) -> bool:
    return reader[0] == reader[1]


scenario = Scenario(
    question="history",
    setup=setup,
    threads=(filler, reader),
    always=(nobody_sees_the_file_change,),
    sometimes=(the_page_is_filled,),
    history={"v4.19": VIOLATED, "v4.20": HOLDS},
    model_only=True,
)
