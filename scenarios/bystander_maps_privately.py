"""A bystander maps and drops the page privately while the seal compares its reference count with its map count.

As `dio_completes_after_seal`, with a process that may only read the file.  The check of v3.17 loads `_refcount` and
`_mapcount` one after the other; a mapping that comes or goes between the two loads makes up for the device's
reference, the page looks clean, and it is never looked at again.

    reader       reads from a slow device straight into the mapped memfd, unmaps it, waits for the device
    bystander    (own process) maps the memfd privately and read-only, looks at it, unmaps it
    sealer       adds F_SEAL_WRITE, then reads the file twice
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario, process
from mmsim.syscalls import (
    EBUSY,
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Device,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, VIOLATED

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


async def reader(sys: Syscalls, shared: Shared) -> int:
    io = await sys.submit_direct_read(SLOW, shared.buffer, fill(b"late"))
    await sys.munmap(shared.buffer)
    return await sys.wait_for(io)


async def bystander(sys: Syscalls, shared: Shared) -> None:
    window = await sys.mmap(shared.fd, PROT_READ, MAP_PRIVATE)
    await sys.load(window)
    await sys.munmap(window)


async def sealer(sys: Syscalls, shared: Shared) -> Seen:
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(shared.fd, PAGE_SIZE), await sys.pread(shared.fd, PAGE_SIZE))


def sealed_content_never_changes(sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == sealer.second


def seal_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


def seal_refused(sealer: Seen) -> bool:
    return sealer.sealed == -EBUSY


scenario = Scenario(
    setup=setup,
    threads=(reader, process(bystander), sealer),
    devices=(SLOW,),
    always=(sealed_content_never_changes,),
    sometimes=(seal_granted, seal_refused),
    expect={"sealing_v2": VIOLATED, "wait_for_pins": VIOLATED, "delayed_unmap": HOLDS},
    model_only=True,  # it would weigh a check that today's kernels rely on; their maintainers come first
)
