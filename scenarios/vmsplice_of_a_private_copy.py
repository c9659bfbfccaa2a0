"""A pipe holds a page of a private mapping that was written before: it is a copy, and none of the file's business.

As `vmsplice_of_a_private_page`, but with the copy made; the seal must not be refused for it.

    user    vmsplices the copy in its private mapping, unmaps it, adds F_SEAL_WRITE, reads the pipe, adds the seal again
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    F_SEAL_WRITE,
    MAP_PRIVATE,
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
    window = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE)
    await sys.store(window, fill(b"mine"))
    return Shared(fd, *await sys.pipe(), window)


async def user(sys: Syscalls, shared: Shared) -> Seen:
    await sys.vmsplice(shared.write, shared.window, PAGE_SIZE)
    await sys.munmap(shared.window)
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.read(shared.read, PAGE_SIZE), await sys.add_seals(shared.fd, F_SEAL_WRITE))


def the_pipe_has_what_was_mapped(user: Seen) -> bool:
    return user.got == fill(b"mine")


def seal_granted_once_the_pipe_is_empty(user: Seen) -> bool:
    return user.again == 0


def seal_granted_at_once(user: Seen) -> bool:
    return user.sealed == 0


scenario = Scenario(
    question="references",
    setup=setup,
    threads=(user,),
    always=(the_pipe_has_what_was_mapped, seal_granted_at_once),
    sometimes=(seal_granted_once_the_pipe_is_empty,),
    expect={OTHERS: HOLDS, "put_user_pages_unconverted": VIOLATED},  # vmsplice is among them
)
