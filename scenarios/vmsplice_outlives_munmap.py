"""A pipe holds a page of a shared mapping that is gone: vmsplice() took it to be read, and munmap() must not wait.

As `dio_write_out`, but the one who can end it is the very thread that unmaps: a design that makes munmap() wait for
every reference of get_user_pages() waits for ever here.

    user    vmsplices the mapped memfd into a pipe, unmaps it, adds F_SEAL_WRITE, reads the pipe, adds the seal again
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
    await sys.vmsplice(shared.write, shared.window, PAGE_SIZE)
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
