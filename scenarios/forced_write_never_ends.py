"""A forced write to private memory that a huge page of zeros backs: in v4.9 it looks for its copy for ever.

19be0eaffa3a, which repaired `dirty_cow`, has a forced write ask again with FOLL_COW once the copy was made, where it
had dropped FOLL_WRITE before.  follow_trans_huge_pmd() was forgotten: it went on to refuse a read-only pmd, the fault
found nothing left to do, and get_user_pages() asked again, with mmap_lock held.  8310d48b125d has it heed FOLL_COW as
well, in v4.10 (and opened the way to `huge_dirty_cow`).  No design has a say in it, for the page belongs to no file.

It takes no second thread, and no state is wrong: `no livelock` is the only property that sees it.

    writer     writes its own /proc/self/mem at private read-only memory
"""

from __future__ import annotations

from mmsim.scenario import Scenario
from mmsim.syscalls import MAP_PRIVATE, PROT_READ, Syscalls
from mmsim.verdict import HOLDS, OTHERS, VIOLATED


async def setup(sys: Syscalls) -> int:
    return await sys.mmap(await sys.dev_zero(), PROT_READ, MAP_PRIVATE)


async def writer(sys: Syscalls, window: int) -> int:
    return await sys.mem_write(window, b"mine")


def the_private_memory_is_written(writer: int) -> bool:
    return writer == 4


scenario = Scenario(
    question="history",
    setup=setup,
    threads=(writer,),
    sometimes=(the_private_memory_is_written,),
    release="v4.9",
    history={"v4.8": HOLDS, "v4.9": VIOLATED, "v4.10": HOLDS},
    expect={OTHERS: VIOLATED},
    model_only=True,
)
