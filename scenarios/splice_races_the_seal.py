"""A page of the memfd goes into a pipe while the seal is asked for, and is read from there at once.

As `splice_reader_refuses_the_seal`, but the splice races the seal too: the reference may come after the last look at
the page, which does no harm, for it is one to read.

    reader    splices the memfd into a pipe, reads the pipe
    sealer    adds F_SEAL_WRITE
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import EBUSY, F_SEAL_WRITE, MFD_ALLOW_SEALING, PAGE_SIZE, Syscalls, fill
from mmsim.verdict import HOLDS, OTHERS


@attrs.frozen
class Shared:
    fd: int
    read: int
    write: int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    return Shared(fd, *await sys.pipe())


async def reader(sys: Syscalls, shared: Shared) -> bytes | int:
    await sys.splice(shared.fd, 0, shared.write, PAGE_SIZE)
    return await sys.read(shared.read, PAGE_SIZE)


async def sealer(sys: Syscalls, shared: Shared) -> int:
    return await sys.add_seals(shared.fd, F_SEAL_WRITE)


def the_pipe_has_the_content(reader: bytes | int) -> bool:
    return reader == fill(b"orig")


def seal_granted(sealer: int) -> bool:
    return sealer == 0


def seal_refused_for_a_reader(sealer: int) -> bool:
    return sealer == -EBUSY


scenario = Scenario(
    question="references",
    sibling="dirty_pipe",
    setup=setup,
    threads=(reader, sealer),
    always=(the_pipe_has_the_content,),
    sometimes=(seal_granted,),
    needless=(seal_refused_for_a_reader,),
    expect={OTHERS: HOLDS},
)
