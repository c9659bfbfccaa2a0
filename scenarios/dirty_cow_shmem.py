"""CVE-2022-2590: Dirty COW once more, with a page of the file that userfaultfd maps read-only and dirty.

From v4.9 on a forced write takes a read-only PTE for its private copy if the PTE is dirty.  From v5.16 on
UFFDIO_CONTINUE maps every page dirty, the file's own page in a private mapping too.  Since v6.0 the page itself is
asked whether it is private.  As `dirty_cow`, but the page that was dropped is put back before anybody faults.

The designs that count a writer's pin in i_mmap_writable of the page's file refuse this one too.

    writer       writes its own /proc/self/mem at a private read-only page of a sealed memfd
    refiller     madvise(MADV_DONTNEED) on that page, then UFFDIO_CONTINUE
"""

from __future__ import annotations

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EIO,
    F_SEAL_WRITE,
    MADV_DONTNEED,
    MAP_PRIVATE,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    UFFDIO_REGISTER_MODE_MINOR,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS, VIOLATED


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    await sys.add_seals(fd, F_SEAL_WRITE)
    window = await sys.mmap(fd, PROT_READ, MAP_PRIVATE)
    await sys.load(window)
    await sys.uffd_register(window, PAGE_SIZE, UFFDIO_REGISTER_MODE_MINOR)
    return window


async def writer(sys: Syscalls, window: int) -> int:
    return await sys.mem_write(window, fill(b"evil"))


async def refiller(sys: Syscalls, window: int) -> int:
    await sys.madvise(window, PAGE_SIZE, MADV_DONTNEED)
    return await sys.uffd_continue(window)


def the_private_page_is_written(writer: int) -> bool:
    return writer == PAGE_SIZE


def the_page_is_put_back(refiller: int) -> bool:
    return refiller == PAGE_SIZE


def a_fault_that_was_promised_is_not_waited_for(writer: int) -> bool:
    return writer == -EIO


scenario = Scenario(
    question="history",
    setup=setup,
    threads=(writer, refiller),
    sometimes=(the_private_page_is_written, the_page_is_put_back, a_fault_that_was_promised_is_not_waited_for),
    expect={
        OTHERS: VIOLATED,  # a seal that is granted asks nobody any more
        "writable_user_pages_slow": HOLDS,
        "writable_user_pages_lookup": HOLDS,
        "writable_user_pages": HOLDS,
    },
    release="v5.16",
    history={"v5.15": HOLDS, "v5.16": VIOLATED, "v5.19": VIOLATED, "v6.0": HOLDS},
    model_only=True,
)
