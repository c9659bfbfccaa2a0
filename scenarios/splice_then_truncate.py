"""The memfd is truncated while its page waits in a pipe: the page has left the file, which may be sealed at once.

As `splice_drained_before_the_seal`, but nobody reads: the reference stays, and what it refers to is no longer looked
at.  The pipe still has what the file had.

    user    truncates the memfd to nothing, adds F_SEAL_WRITE, reads the pipe
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


@attrs.frozen
class Seen:
    sealed: int
    got: bytes | int


async def user(sys: Syscalls, shared: Shared) -> Seen:
    await sys.ftruncate(shared.fd, 0)
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.read(shared.read, PAGE_SIZE))


def the_pipe_keeps_the_content(user: Seen) -> bool:
    return user.got == fill(b"orig")


def seal_granted(user: Seen) -> bool:
    return user.sealed == 0


scenario = Scenario(
    question="references",
    sibling="dio_into_truncated_page",
    setup=setup,
    threads=(user,),
    always=(the_pipe_keeps_the_content, seal_granted),
    sometimes=(seal_granted,),
    expect={OTHERS: HOLDS},
)
