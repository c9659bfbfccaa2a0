"""A page of the memfd waits in a thousand pipes, and is taken for pinned where 1024 references are what a pin adds.

As `splice_reader_refuses_the_seal`, where one pipe has it: that refuses a seal for any design that looks at all
references, and a thousand refuse it for folio_maybe_dma_pinned() too, though nobody has the page pinned.

    user    adds F_SEAL_WRITE while others have the page in their pipes, reads the file
"""

from __future__ import annotations

from mmsim.scenario import Scenario
from mmsim.syscalls import EBUSY, F_SEAL_WRITE, MFD_ALLOW_SEALING, PAGE_SIZE, Syscalls, fill
from mmsim.verdict import HOLDS, OTHERS

PIPES = 1024


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    read, write = await sys.pipe()
    await sys.splice(fd, 0, write, PAGE_SIZE)
    await sys.tee_many(read, PIPES)
    return fd


async def user(sys: Syscalls, fd: int) -> tuple[int, bytes | int]:
    return await sys.add_seals(fd, F_SEAL_WRITE), await sys.pread(fd, PAGE_SIZE)


def the_file_keeps_its_content(user: tuple[int, bytes | int]) -> bool:
    return user[1] == fill(b"orig")


def seal_refused_for_readers(user: tuple[int, bytes | int]) -> bool:
    return user[0] == -EBUSY


scenario = Scenario(
    question="references",
    sibling="dirty_pipe",
    setup=setup,
    threads=(user,),
    always=(the_file_keeps_its_content,),
    sometimes=(the_file_keeps_its_content,),
    needless=(seal_refused_for_readers,),
    expect={OTHERS: HOLDS},
    model_only=True,
)
