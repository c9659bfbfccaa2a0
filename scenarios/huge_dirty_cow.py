"""CVE-2017-1000405, Huge Dirty COW: a forced write to private memory lands in the page of zeros that is everybody's.

From v4.10 on a forced write takes a read-only pmd for its private copy if it is dirty, as `dirty_cow` tells of a PTE.
But touch_pmd() made a pmd dirty for whoever only looked at it.  When the copy is dropped, and a reader maps the huge
page of zeros again, the writer finds it dirty, and writes to it.  Since v4.15 only writers make it dirty.

The report names sealed files on huge pages too.  They are not shown here: a private copy of a file's huge page is made
in small pages (wp_huge_pmd), below a page table that stays for as long as get_user_pages() holds mmap_lock, so that no
pmd can be there again; and what is not seen there in the source of v4.14 is not claimed by the model.

No design helps: the page belongs to no file, and so has no writers to count.

    writer     writes its own /proc/self/mem at private read-only memory
    dropper    madvise(MADV_DONTNEED) on it, reads /proc/self/mem there, then other memory that nobody has written
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import MADV_DONTNEED, MAP_PRIVATE, PAGE_SIZE, PROT_READ, Syscalls
from mmsim.verdict import HOLDS, OTHERS, VIOLATED


@attrs.frozen
class Shared:
    window: int
    other: int


async def setup(sys: Syscalls) -> Shared:
    zero = await sys.dev_zero()
    other = await sys.mmap(zero, PROT_READ, MAP_PRIVATE)
    await sys.load(other)
    return Shared(await sys.mmap(zero, PROT_READ, MAP_PRIVATE), other)


async def writer(sys: Syscalls, shared: Shared) -> int:
    return await sys.mem_write(shared.window, b"evil")


async def dropper(sys: Syscalls, shared: Shared) -> object:
    await sys.madvise(shared.window, PAGE_SIZE, MADV_DONTNEED)
    await sys.mem_read(shared.window, 4)
    return await sys.load(shared.other, 4)


def memory_that_nobody_wrote_is_zero(writer: int, dropper: object) -> bool:
    return dropper == bytes(4)


def the_private_memory_is_written(writer: int) -> bool:
    return writer == 4


scenario = Scenario(
    question="history",
    setup=setup,
    threads=(writer, dropper),
    always=(memory_that_nobody_wrote_is_zero,),
    sometimes=(the_private_memory_is_written,),
    release="v4.14",
    history={"v4.14": VIOLATED, "v4.18": HOLDS, "v6.0": HOLDS},
    expect={OTHERS: VIOLATED},
    model_only=True,
)
