"""A page gets so many references that their count wraps, and is freed under those who have it: CVE-2019-11487.

`_refcount` has 32 bits, and every tee() adds one reference for nothing but a slot in a pipe.  With 2^32 of them the
count is small again, and whoever gives the next one back frees the page.  Since v5.1 tee() and get_user_pages() refuse
a page whose count is not positive, half way there; see `references_refused_at_the_limit`.

    user    has a page of a file in two pipes and others tee() it often; reads the first pipe, then the second
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import MFD_ALLOW_SEALING, PAGE_SIZE, Syscalls, fill
from mmsim.verdict import HOLDS, OTHERS, VIOLATED

OFTEN = 2**32 - 2
"""With the references of the page cache and of the two pipes it makes 2^32 + 1."""


@attrs.frozen
class Shared:
    fd: int
    first: int
    second: int


@attrs.frozen
class Seen:
    granted: int
    first: bytes | int
    second: bytes | int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    first, into_first = await sys.pipe()
    second, into_second = await sys.pipe()
    await sys.splice(fd, 0, into_first, PAGE_SIZE)
    await sys.tee(first, into_second, PAGE_SIZE)
    return Shared(fd, first, second)


async def user(sys: Syscalls, shared: Shared) -> Seen:
    granted = await sys.tee_many(shared.first, OFTEN)
    return Seen(granted, await sys.read(shared.first, PAGE_SIZE), await sys.read(shared.second, PAGE_SIZE))


def both_pipes_have_the_content(user: Seen) -> bool:
    return user.first == user.second == fill(b"orig")


def some_are_refused(user: Seen) -> bool:
    return 0 < user.granted < OFTEN


scenario = Scenario(
    question="history",
    setup=setup,
    threads=(user,),
    always=(both_pipes_have_the_content,),
    sometimes=(some_are_refused,),
    history={"v3.17": VIOLATED, "v5.0": VIOLATED, "v5.1": HOLDS},
    model_only=True,
    expect={OTHERS: VIOLATED},  # nobody pins
)
