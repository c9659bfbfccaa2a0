"""A page of the memfd waits in two pipes: reading one of them gives back one reference and not the other.

As `splice_drained_before_the_seal`, but tee() put the page into a second pipe, which nobody reads before the seal.

    user    reads the first pipe, adds F_SEAL_WRITE, reads the second pipe, adds the seal again
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import EBUSY, F_SEAL_WRITE, MFD_ALLOW_SEALING, PAGE_SIZE, Syscalls, fill
from mmsim.verdict import HOLDS, OTHERS


@attrs.frozen
class Shared:
    fd: int
    first: int
    second: int


@attrs.frozen
class Seen:
    sealed: int
    first: bytes | int
    second: bytes | int
    again: int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    first, into_first = await sys.pipe()
    second, into_second = await sys.pipe()
    await sys.splice(fd, 0, into_first, PAGE_SIZE)
    await sys.tee(first, into_second, PAGE_SIZE)
    return Shared(fd, first, second)


async def user(sys: Syscalls, shared: Shared) -> Seen:
    first = await sys.read(shared.first, PAGE_SIZE)
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    second = await sys.read(shared.second, PAGE_SIZE)
    return Seen(sealed, first, second, await sys.add_seals(shared.fd, F_SEAL_WRITE))


def both_pipes_have_the_content(user: Seen) -> bool:
    return user.first == user.second == fill(b"orig")


def seal_granted_once_both_are_empty(user: Seen) -> bool:
    return user.again == 0


def seal_refused_for_a_reader(user: Seen) -> bool:
    return user.sealed == -EBUSY


scenario = Scenario(
    question="references",
    sibling="dirty_pipe",
    setup=setup,
    threads=(user,),
    always=(both_pipes_have_the_content, seal_granted_once_both_are_empty),
    sometimes=(seal_granted_once_both_are_empty,),
    needless=(seal_refused_for_a_reader,),
    expect={OTHERS: HOLDS},
)
