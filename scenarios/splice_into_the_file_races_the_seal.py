"""What waits in a pipe is spliced into the memfd while it is sealed: it is written before the seal, or EPERM.

As `write_races_seal`, but the data comes out of a pipe, in which it stays if it may not be written.

    writer    splices the pipe into the memfd
    sealer    adds F_SEAL_WRITE, then reads the file
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import EPERM, F_SEAL_WRITE, MFD_ALLOW_SEALING, PAGE_SIZE, Syscalls, fill
from mmsim.verdict import HOLDS, OTHERS


@attrs.frozen
class Shared:
    fd: int
    read: int


@attrs.frozen
class Seen:
    sealed: int
    content: bytes | int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    read, write = await sys.pipe()
    await sys.write(write, fill(b"next"))
    return Shared(fd, read)


async def writer(sys: Syscalls, shared: Shared) -> int:
    return await sys.splice(shared.read, 0, shared.fd, PAGE_SIZE)


async def sealer(sys: Syscalls, shared: Shared) -> Seen:
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    return Seen(sealed, await sys.pread(shared.fd, PAGE_SIZE))


def refused_is_not_written(writer: int, sealer: Seen) -> bool:
    return sealer.content == fill(b"orig" if writer == -EPERM else b"next") or sealer.sealed != 0


def written(writer: int) -> bool:
    return writer == PAGE_SIZE


def write_refused(writer: int) -> bool:
    return writer == -EPERM


def seal_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


scenario = Scenario(
    question="references",
    sibling="dio_completes_after_seal",
    setup=setup,
    threads=(writer, sealer),
    always=(refused_is_not_written,),
    sometimes=(written, write_refused, seal_granted),
    expect={OTHERS: HOLDS},
)
