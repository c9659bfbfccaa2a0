"""A page has as many references as it may have: tee() and a pin are refused, until somebody gives one back.

As `pin_overflows_the_references` and `references_overflow`, since v5.1: others get references until the count is
negative, and from there on try_get_page() refuses.  A pin that counts for 1024 is refused no sooner than
any other, for it is the count before that is looked at.

    user    has others tee() often; tries to tee() and to read into the page; reads the pipe, tries to read again
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EFAULT,
    ENOMEM,
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
    buffer: int
    read: int
    into_other: int


@attrs.frozen
class Seen:
    teed: int
    refused: object
    transferred: int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.load(buffer)
    read, write = await sys.pipe()
    await sys.splice(fd, 0, write, PAGE_SIZE)
    _, into_other = await sys.pipe()
    return Shared(buffer, read, into_other)


async def user(sys: Syscalls, shared: Shared) -> Seen:
    await sys.tee_many(shared.read, 2**32)
    teed = await sys.tee(shared.read, shared.into_other, PAGE_SIZE)
    refused = await sys.submit_direct_read(SLOW, shared.buffer, fill(b"late"))
    await sys.read(shared.read, PAGE_SIZE)
    io = await sys.submit_direct_read(SLOW, shared.buffer, fill(b"late"))
    return Seen(teed, refused, io if isinstance(io, int) else await sys.wait_for(io))


def the_page_has_no_reference_to_give(user: Seen) -> bool:
    return user.teed == -EFAULT and user.refused == -ENOMEM


def a_reference_given_back_can_be_had(user: Seen) -> bool:
    return user.transferred == PAGE_SIZE


scenario = Scenario(
    question="kept",
    sibling="pin_overflows_the_references",
    setup=setup,
    threads=(user,),
    devices=(SLOW,),
    always=(the_page_has_no_reference_to_give, a_reference_given_back_can_be_had),
    sometimes=(a_reference_given_back_can_be_had,),
    expect={OTHERS: HOLDS},
    release="v5.1",
    model_only=True,
)
