"""F_SEAL_EXEC on an executable file implies F_SEAL_WRITE, and asked nobody before it was set.

The implied seals were added behind the test for "F_SEAL_WRITE newly requested", so writable mappings were neither
refused nor denied.  Fixed in v7.0, and before in v6.12.93 and v6.18.44.

    writer    stores through the mapping, then unmaps it
    sealer    adds F_SEAL_EXEC, then reads the file twice
"""

from __future__ import annotations

import signal

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    F_SEAL_EXEC,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, VIOLATED


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


async def writer(sys: Syscalls, shared: Shared) -> signal.Signals | None:
    fault = await sys.store(shared.buffer, fill(b"late"))
    await sys.munmap(shared.buffer)
    return fault


async def sealer(sys: Syscalls, shared: Shared) -> Seen:
    sealed = await sys.add_seals(shared.fd, F_SEAL_EXEC)
    return Seen(sealed, await sys.pread(shared.fd, PAGE_SIZE), await sys.pread(shared.fd, PAGE_SIZE))


def sealed_content_never_changes(sealer: Seen) -> bool:
    return sealer.sealed != 0 or sealer.first == sealer.second


def seal_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


scenario = Scenario(
    question="history",
    setup=setup,
    threads=(writer, sealer),
    always=(sealed_content_never_changes,),
    sometimes=(seal_granted,),
    release="v6.3",
    history={
        "v6.3": VIOLATED,
        "v6.12.93": HOLDS,
        "v6.13": VIOLATED,
        "v6.18.44": HOLDS,
        "v6.19": VIOLATED,
        "v7.0": HOLDS,
    },
    model_only=True,
)
