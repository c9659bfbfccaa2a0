"""A direct write is in flight when the seal is asked for: the device only reads the page and can change nothing.

As `dio_completes_after_seal`, but in the other direction and in one thread.  The seal would be safe at once; a
strategy that cannot tell a reader's reference from a writer's refuses it, or makes munmap() wait, without need.
The outcomes show which: a `sealed` of -EBUSY here is such a refusal.

    user    writes the mapped memfd to a slow device, unmaps it, adds F_SEAL_WRITE, reads the file twice
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
    sealed: int
    first: bytes | int
    second: bytes | int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    return Shared(fd, await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED))


async def user(sys: Syscalls, shared: Shared) -> Seen:
    await sys.submit_direct_write(SLOW, shared.buffer)
    await sys.munmap(shared.buffer)
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(shared.fd, PAGE_SIZE), await sys.pread(shared.fd, PAGE_SIZE))


def content_never_changes(user: Seen) -> bool:
    return user.first == user.second == fill(b"orig")


def seal_granted(user: Seen) -> bool:
    return user.sealed == 0


def seal_refused_for_a_reader(user: Seen) -> bool:
    return user.sealed == -EBUSY


scenario = Scenario(
    question="references",
    sibling="dio_completes_after_seal",
    setup=setup,
    threads=(user,),
    devices=(SLOW,),
    always=(content_never_changes,),
    sometimes=(seal_granted,),
    needless=(seal_refused_for_a_reader,),
    expect={OTHERS: HOLDS},
)
