"""A buffer is registered in a private mapping: registering copies the page, and the file is nobody's to write.

As `registered_buffer_outlives_munmap`, but the mapping is private, and is still there to look at what the device wrote.

    user      reads from a slow device into the registered buffer, looks at it
    sealer    adds F_SEAL_WRITE, then reads the file twice
"""

from __future__ import annotations

from typing import Any

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EBUSY,
    F_SEAL_WRITE,
    MAP_PRIVATE,
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
    window: int
    buffer: Any


@attrs.frozen
class Seen:
    sealed: int
    first: bytes | int
    second: bytes | int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    window = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE)
    return Shared(fd, window, await sys.register_buffer(window))


async def user(sys: Syscalls, shared: Shared) -> object:
    await sys.wait_for(await sys.submit_read_fixed(SLOW, shared.buffer, fill(b"late")))
    return await sys.load(shared.window)


async def sealer(sys: Syscalls, shared: Shared) -> Seen:
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(shared.fd, PAGE_SIZE), await sys.pread(shared.fd, PAGE_SIZE))


def the_file_stays(sealer: Seen) -> bool:
    return sealer.first == sealer.second == fill(b"orig")


def the_copy_is_filled(user: object) -> bool:
    return user == fill(b"late")


def seal_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


def seal_refused(sealer: Seen) -> bool:
    return sealer.sealed == -EBUSY


scenario = Scenario(
    question="references",
    sibling="registered_buffer_outlives_munmap",
    setup=setup,
    threads=(user, sealer),
    devices=(SLOW,),
    always=(the_file_stays, the_copy_is_filled),
    sometimes=(seal_granted, the_copy_is_filled),
    needless=(seal_refused,),
    expect={OTHERS: HOLDS},
    release="v5.10",
)
