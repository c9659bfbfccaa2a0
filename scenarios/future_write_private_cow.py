"""A private mapping of a file sealed with F_SEAL_FUTURE_WRITE is not copied on write after a fork.

mmap() took VM_MAYWRITE from private mappings too, and fork() write-protects only what may be written: parent and child
went on with one page, both writing.  Fixed in v5.5.

    parent    forks the child, stores to its private page, reads it
    child     stores to the same page, which should be a copy
"""

from __future__ import annotations

import signal

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    F_SEAL_FUTURE_WRITE,
    MAP_PRIVATE,
    MFD_ALLOW_SEALING,
    PROT_READ,
    PROT_WRITE,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, VIOLATED


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    await sys.add_seals(fd, F_SEAL_FUTURE_WRITE)
    window = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE)
    await sys.store(window, fill(b"mine"))
    return window


async def parent(sys: Syscalls, window: int) -> bytes | signal.Signals:
    await sys.fork(child)
    return await sys.load(window)


async def child(sys: Syscalls, window: int) -> signal.Signals | None:
    return await sys.store(window, fill(b"late"))


def private_memory_is_ones_own(parent: bytes | signal.Signals) -> bool:
    return parent == fill(b"mine")


def child_can_store(child: signal.Signals | None) -> bool:
    return child is None


scenario = Scenario(
    question="history",
    setup=setup,
    threads=(parent,),
    children=(child,),
    always=(private_memory_is_ones_own,),
    sometimes=(child_can_store,),
    release="v5.1",
    history={"v5.1": VIOLATED, "v5.5": HOLDS},
    model_only=True,
)
