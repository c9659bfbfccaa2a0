"""The page that waited in a pipe was read before the seal is asked for: nobody holds it any more.

As `splice_reader_refuses_the_seal`, but in one thread: reading the last byte gives the page back, the one before does
not.

    user    reads all of the pipe in two parts, adds F_SEAL_WRITE
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import F_SEAL_WRITE, MFD_ALLOW_SEALING, PAGE_SIZE, Syscalls, fill
from mmsim.verdict import HOLDS, OTHERS


@attrs.frozen
class Shared:
    fd: int
    read: int
    write: int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    read, write = await sys.pipe()
    await sys.splice(fd, 0, write, PAGE_SIZE)
    return Shared(fd, read, write)


async def user(sys: Syscalls, shared: Shared) -> int:
    await sys.read(shared.read, PAGE_SIZE - 1)
    await sys.read(shared.read, 1)
    return await sys.add_seals(shared.fd, F_SEAL_WRITE)


def seal_granted(user: int) -> bool:
    return user == 0


scenario = Scenario(
    question="references",
    sibling="dirty_pipe",
    setup=setup,
    threads=(user,),
    always=(seal_granted,),
    sometimes=(seal_granted,),
    expect={OTHERS: HOLDS},
)
