"""A client keeps a registered buffer for ever, and a service has to see whether it can seal the file all the same.

As `registered_buffer_outlives_munmap`, but what is asked is whether the service gets anywhere.  A design that waits or
refuses leaves it at the mercy of its client; one that gives the holder the page, and the file another, does not.

    client     reads from a slow device into its registered buffer, whose mapping is gone; never unregisters it
    service    adds F_SEAL_WRITE, then reads the file twice
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
class Seen:
    sealed: int
    first: bytes | int
    second: bytes | int


@attrs.frozen
class Shared:
    fd: int
    buffer: Any


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    window = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    buffer = await sys.register_buffer(window)
    await sys.munmap(window)
    return Shared(fd, buffer)


async def client(sys: Syscalls, shared: Shared) -> int:
    return await sys.wait_for(await sys.submit_read_fixed(SLOW, shared.buffer, fill(b"late")))


async def service(sys: Syscalls, shared: Shared) -> Seen:
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(shared.fd, PAGE_SIZE), await sys.pread(shared.fd, PAGE_SIZE))


def the_client_cannot_refuse_the_seal(service: Seen) -> bool:
    return service.sealed == 0


def the_client_uses_its_buffer(client: int) -> bool:
    return client == PAGE_SIZE


def sealed_content_never_changes(service: Seen) -> bool:
    return service.sealed != 0 or service.first == service.second


scenario = Scenario(
    question="waiting",
    setup=setup,
    threads=(client, service),
    devices=(SLOW,),
    always=(sealed_content_never_changes, the_client_cannot_refuse_the_seal),
    sometimes=(the_client_uses_its_buffer,),
    expect={
        OTHERS: VIOLATED,  # whoever waits or refuses
        "page_replacement": HOLDS,
        "delayed_unmap_sync": UNASKED,  # setup unmaps a page that stays pinned, and waits
        "copy_on_seal": HOLDS,
        "unmap_then_replace": HOLDS,
    },
    release="v5.10",
    model_only=True,  # Linux gives up after 150 ms, and leaves the service to its client
)
