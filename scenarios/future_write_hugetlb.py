"""A memfd of huge pages, sealed with F_SEAL_FUTURE_WRITE, can still be mapped for writing.

hugetlbfs looked at the seal in fallocate() and not in mmap().  Fixed in v5.13.

    mapper    looks at the seals, maps the file shared and writable
    sealer    adds F_SEAL_FUTURE_WRITE
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EPERM,
    F_SEAL_FUTURE_WRITE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    MFD_HUGETLB,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Syscalls,
)
from mmsim.verdict import HOLDS, VIOLATED


@attrs.frozen
class Mapped:
    seals: int
    window: int


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING | MFD_HUGETLB)
    await sys.ftruncate(fd, PAGE_SIZE)
    return fd


async def mapper(sys: Syscalls, fd: int) -> Mapped:
    return Mapped(await sys.get_seals(fd), await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED))


async def sealer(sys: Syscalls, fd: int) -> int:
    return await sys.add_seals(fd, F_SEAL_FUTURE_WRITE)


def no_new_writer_once_it_is_sealed(mapper: Mapped) -> bool:
    return mapper.window == -EPERM or not mapper.seals & F_SEAL_FUTURE_WRITE


def sealed_before_it_was_mapped(mapper: Mapped) -> bool:
    return bool(mapper.seals & F_SEAL_FUTURE_WRITE)


def mapped(mapper: Mapped) -> bool:
    return mapper.window > 0


scenario = Scenario(
    question="history",
    setup=setup,
    threads=(mapper, sealer),
    always=(no_new_writer_once_it_is_sealed,),
    sometimes=(sealed_before_it_was_mapped, mapped),
    release="v5.1",
    history={"v5.1": VIOLATED, "v5.12": VIOLATED, "v5.13": HOLDS},
    model_only=True,
)
