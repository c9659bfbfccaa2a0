"""A child inherits a counted mapping: the seal stays refused when the parent has unmapped, until the child is gone.

fork() raises `i_mmap_writable` once for every counted mapping it copies; here only the child's is left to hold it up.

    parent    forks the child, unmaps the memfd, adds F_SEAL_WRITE, reads the file twice
    child     stores through the mapping it inherited, exits
"""

from __future__ import annotations

import signal

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
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS


@attrs.frozen
class Shared:
    fd: int
    window: int


@attrs.frozen
class Seen:
    sealed: int
    first: bytes | int
    second: bytes | int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    return Shared(fd, await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED))


async def parent(sys: Syscalls, shared: Shared) -> Seen:
    await sys.fork(child)
    await sys.munmap(shared.window)
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(shared.fd, PAGE_SIZE), await sys.pread(shared.fd, PAGE_SIZE))


async def child(sys: Syscalls, shared: Shared) -> signal.Signals | None:
    fault = await sys.store(shared.window, fill(b"late"))
    await sys.exit()
    return fault


def seal_waits_for_the_child(parent: Seen) -> bool:
    return parent.sealed != 0 or parent.first == parent.second == fill(b"late")


def child_can_store(child: signal.Signals | None) -> bool:
    return child is None


def seal_granted(parent: Seen) -> bool:
    return parent.sealed == 0


def seal_refused(parent: Seen) -> bool:
    return parent.sealed == -EBUSY


scenario = Scenario(
    question="mapping",
    sibling="dio_from_another_process",
    setup=setup,
    threads=(parent,),
    children=(child,),
    always=(seal_waits_for_the_child, child_can_store),
    sometimes=(seal_granted, seal_refused),
    expect={OTHERS: HOLDS},
)
