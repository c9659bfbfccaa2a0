"""A direct read is over and its buffer unmapped before the seal is asked for: every strategy must grant it.

The control of the family of `dio_completes_after_seal`: the same calls, one after the other in one thread.

    user    reads from a slow device into the mapped memfd, waits for it, unmaps, adds F_SEAL_WRITE, reads the file
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    F_SEAL_WRITE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Device,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS

SLOW = Device("slow")


@attrs.frozen
class Shared:
    fd: int
    buffer: int


@attrs.frozen
class Seen:
    transferred: int
    sealed: int
    content: bytes | int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    return Shared(fd, await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED))


async def user(sys: Syscalls, shared: Shared) -> Seen:
    transferred = await sys.wait_for(await sys.submit_direct_read(SLOW, shared.buffer, fill(b"late")))
    await sys.munmap(shared.buffer)
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Seen(transferred, sealed, await sys.pread(shared.fd, PAGE_SIZE))


def seal_is_granted(user: Seen) -> bool:
    return user.sealed == 0


def whole_answer_is_sealed(user: Seen) -> bool:
    return user.transferred == PAGE_SIZE and user.content == fill(b"late")


scenario = Scenario(
    question="seal",
    sibling="dio_completes_after_seal",
    setup=setup,
    threads=(user,),
    devices=(SLOW,),
    always=(seal_is_granted, whole_answer_is_sealed),
    sometimes=(seal_is_granted,),
    expect={OTHERS: HOLDS},
)
