"""CVE-2016-5195, Dirty COW: a forced write to a private mapping lands in the sealed file itself.

get_user_pages() has to write through a PTE that stays read-only, for the mapping is.  Up to v4.8 it dropped FOLL_WRITE
once the private copy was made.  If madvise(MADV_DONTNEED) takes the copy away before it looks again, a read fault maps
the file's own page, and there is nothing left that would tell it from the copy.  Since v4.9 it asks for FOLL_COW and a
dirty PTE instead, since v6.0 for a private page; see `dirty_cow_shmem`.

The designs that count a writer's pin in i_mmap_writable of the file that the page belongs to refuse it, for the file is
sealed and its writers are denied.  Since v4.9 that is right: get_user_pages() still faults as a writer, until it has a
page that is no file's.  Up to v4.8 it faults as a reader by then, finds the file's page each time and is refused each
time: the content is safe, and the writer spins for ever with mmap_lock held (`no livelock`).

    writer     writes its own /proc/self/mem at a private read-only page of a sealed memfd
    dropper    madvise(MADV_DONTNEED) on that page
"""

from __future__ import annotations

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    F_SEAL_WRITE,
    MADV_DONTNEED,
    MAP_PRIVATE,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS, VIOLATED


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    await sys.add_seals(fd, F_SEAL_WRITE)
    return await sys.mmap(fd, PROT_READ, MAP_PRIVATE)


async def writer(sys: Syscalls, window: int) -> int:
    return await sys.mem_write(window, fill(b"evil"))


async def dropper(sys: Syscalls, window: int) -> int:
    return await sys.madvise(window, PAGE_SIZE, MADV_DONTNEED)


def the_private_page_is_written(writer: int, dropper: int) -> bool:
    return writer == PAGE_SIZE and dropper == 0


scenario = Scenario(
    question="history",
    setup=setup,
    threads=(writer, dropper),
    sometimes=(the_private_page_is_written,),
    expect={OTHERS: VIOLATED},  # a seal that is granted asks nobody any more
    history={"v4.8": VIOLATED, "v4.9": HOLDS, "v6.0": HOLDS},
    model_only=True,
)
