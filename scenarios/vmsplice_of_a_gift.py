"""A pipe was given a page of the memfd as a gift, for the reader to keep: it is the file's all the same.

As `vmsplice_outlives_munmap`, with SPLICE_F_GIFT, which promises not to touch the page again and takes nothing away.

    user    vmsplices the mapped memfd with SPLICE_F_GIFT, unmaps it, adds F_SEAL_WRITE, reads the pipe, adds it again
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EBUSY,
    F_SEAL_WRITE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    SPLICE_F_GIFT,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS, VIOLATED


@attrs.frozen
class Shared:
    fd: int
    read: int
    write: int
    window: int


@attrs.frozen
class Seen:
    sealed: int
    got: bytes | int
    again: int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    window = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    return Shared(fd, *await sys.pipe(), window)


async def user(sys: Syscalls, shared: Shared) -> Seen:
    await sys.vmsplice(shared.write, shared.window, PAGE_SIZE, SPLICE_F_GIFT)
    await sys.munmap(shared.window)
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.read(shared.read, PAGE_SIZE), await sys.add_seals(shared.fd, F_SEAL_WRITE))


def the_pipe_has_what_was_mapped(user: Seen) -> bool:
    return user.got == fill(b"orig")


def seal_granted_once_the_pipe_is_empty(user: Seen) -> bool:
    return user.again == 0


def seal_refused_for_a_reader(user: Seen) -> bool:
    return user.sealed == -EBUSY


scenario = Scenario(
    question="references",
    setup=setup,
    threads=(user,),
    always=(the_pipe_has_what_was_mapped, seal_granted_once_the_pipe_is_empty),
    sometimes=(seal_granted_once_the_pipe_is_empty,),
    needless=(seal_refused_for_a_reader,),
    expect={OTHERS: HOLDS, "put_user_pages_unconverted": VIOLATED},  # vmsplice is among them
)
