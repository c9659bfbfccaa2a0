"""A registered buffer is given up while a read into it is under way: unregistering waits for the device, then lets go.

As `registered_buffer_outlives_munmap`, but the owner is done with it, so the seal is granted in the end.

    user      reads from a slow device into the registered buffer, unregisters it
    sealer    adds F_SEAL_WRITE, then reads the file twice
"""

from __future__ import annotations

from typing import Any

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
from mmsim.verdict import HOLDS, OTHERS, UNASKED, VIOLATED

SLOW = Device("slow")


@attrs.frozen
class Shared:
    fd: int
    buffer: Any


@attrs.frozen
class Seen:
    sealed: int
    first: bytes | int
    second: bytes | int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    window = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    buffer = await sys.register_buffer(window)
    await sys.munmap(window)
    return Shared(fd, buffer)


async def user(sys: Syscalls, shared: Shared) -> int:
    await sys.submit_read_fixed(SLOW, shared.buffer, fill(b"late"))
    return await sys.unregister_buffer(shared.buffer)


async def sealer(sys: Syscalls, shared: Shared) -> Seen:
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(shared.fd, PAGE_SIZE), await sys.pread(shared.fd, PAGE_SIZE))


def sealed_content_never_changes(sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == sealer.second


def sealed_when_it_is_unregistered(user: int, sealer: Seen) -> bool:
    return user == 0 and sealer.sealed == 0 and sealer.first == fill(b"late")


scenario = Scenario(
    question="references",
    setup=setup,
    threads=(user, sealer),
    devices=(SLOW,),
    always=(sealed_content_never_changes,),
    sometimes=(sealed_when_it_is_unregistered,),
    expect={
        OTHERS: HOLDS,
        "sealing_v2": VIOLATED,
        "delayed_unmap_sync": UNASKED,  # setup unmaps a page that stays pinned, and waits
    },
    release="v5.10",
)
