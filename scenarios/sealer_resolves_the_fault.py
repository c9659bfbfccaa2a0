"""A direct read has pinned one page and waits for a second one, which only the sealer can supply.

The buffer lies in two memfds.  get_user_pages() holds a page of the first while a userfaultfd of the second keeps it
waiting, without mmap_lock; the program that resolves the fault wants to seal the first memfd before.  Whoever lets it
wait until the pin is gone lets it wait for itself.

    reader    reads from a slow device into both memfds at once
    sealer    unmaps the first memfd, adds F_SEAL_WRITE to it, then UFFDIO_COPY to the second
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EFAULT,
    F_SEAL_WRITE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    UFFDIO_REGISTER_MODE_MISSING,
    Device,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS, VIOLATED

SLOW = Device("slow")


@attrs.frozen
class Shared:
    fd: int
    first: int
    second: int


@attrs.frozen
class Sealed:
    sealed: int
    copied: int


async def setup(sys: Syscalls) -> Shared:
    one = await sys.memfd_create("one", MFD_ALLOW_SEALING)
    two = await sys.memfd_create("two", MFD_ALLOW_SEALING)
    windows = [(await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED), fd) for fd in (one, two)]
    (first, frame), (second, other) = sorted(windows)  # pages are pinned from low addresses to high ones
    await sys.pwrite(frame, fill(b"orig"))
    await sys.ftruncate(other, PAGE_SIZE)
    await sys.uffd_register(second, PAGE_SIZE, UFFDIO_REGISTER_MODE_MISSING)
    return Shared(frame, first, second)


async def reader(sys: Syscalls, shared: Shared) -> int:
    return await sys.wait_for(await sys.submit_direct_read(SLOW, shared.first, fill(b"late", 2)))


async def sealer(sys: Syscalls, shared: Shared) -> Sealed:
    await sys.munmap(shared.first)
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Sealed(sealed, await sys.uffd_copy(shared.second, fill(b"page")))


def the_fault_is_resolved_and_the_read_completes(reader: int, sealer: Sealed) -> bool:
    return reader == 2 * PAGE_SIZE and sealer.copied == PAGE_SIZE


def granted_and_nothing_left_to_read_into(reader: int, sealer: Sealed) -> bool:
    return reader == -EFAULT and sealer == Sealed(0, PAGE_SIZE)


scenario = Scenario(
    question="waiting",
    setup=setup,
    threads=(reader, sealer),
    devices=(SLOW,),
    sometimes=(the_fault_is_resolved_and_the_read_completes, granted_and_nothing_left_to_read_into),
    expect={
        OTHERS: HOLDS,
        "sealing_v2": VIOLATED,
        "delayed_unmap_mutex": VIOLATED,
        "delayed_unmap_irq_lock": VIOLATED,
        "delayed_unmap_sync": VIOLATED,  # waits for an I/O whose fault it was to resolve
    },
    release="v5.10",
)
