"""A file that is sealed against writing is mapped shared to be read.

Nobody is harmed by it.  It was refused at first, allowed from v6.7, refused again from v6.12 until v6.12.9, because the
counter was asked before the file system could say that the mapping may never be written.

    mapper    maps the sealed file shared and read-only, reads it, tries to store
"""

from __future__ import annotations

import signal

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    F_SEAL_WRITE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PROT_READ,
    SIGSEGV,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, VIOLATED


@attrs.frozen
class Mapped:
    window: int
    content: bytes | signal.Signals
    fault: signal.Signals | None


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    await sys.add_seals(fd, F_SEAL_WRITE)
    return fd


async def mapper(sys: Syscalls, fd: int) -> Mapped:
    window = await sys.mmap(fd, PROT_READ, MAP_SHARED)
    return Mapped(window, await sys.load(window), await sys.store(window, b"late"))


def sealed_file_can_be_mapped_to_be_read(mapper: Mapped) -> bool:
    return mapper.window > 0 and mapper.content == fill(b"orig")


def store_is_refused(mapper: Mapped) -> bool:
    return mapper.fault == SIGSEGV


scenario = Scenario(
    question="history",
    setup=setup,
    threads=(mapper,),
    always=(sealed_file_can_be_mapped_to_be_read,),
    sometimes=(store_is_refused,),
    release="v6.7",
    history={"v3.17": VIOLATED, "v6.7": HOLDS, "v6.12": VIOLATED, "v6.12.9": HOLDS},
    model_only=True,
)
