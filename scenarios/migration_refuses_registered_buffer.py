"""A page that is a registered buffer stays where it is until it is unregistered, though no request is under way.

As `migration_races_dio`, but the pin is there for good: what is read into the buffer arrives in the mapping.

    user      reads from a slow device into the registered buffer, waits, looks at the mapping
    mover     moves the page, which must fail
"""

from __future__ import annotations

from typing import Any

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EBUSY,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
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
    window: int
    buffer: Any


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    window = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    return Shared(window, await sys.register_buffer(window))


async def user(sys: Syscalls, shared: Shared) -> object:
    await sys.wait_for(await sys.submit_read_fixed(SLOW, shared.buffer, fill(b"late")))
    return await sys.load(shared.window)


async def mover(sys: Syscalls, shared: Shared) -> int:
    return await sys.move_pages(shared.window)


def the_data_is_there(user: object) -> bool:
    return user == fill(b"late")


def the_page_stays(mover: int) -> bool:
    return mover == -EBUSY


scenario = Scenario(
    question="kept",
    sibling="registered_buffer_outlives_munmap",
    setup=setup,
    threads=(user, mover),
    devices=(SLOW,),
    always=(the_data_is_there, the_page_stays),
    sometimes=(the_data_is_there, the_page_stays),
    expect={OTHERS: HOLDS},
    release="v5.10",
)
