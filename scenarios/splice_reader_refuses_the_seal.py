"""A page of the memfd waits in a pipe when the seal is asked for: whoever reads it from there can change nothing.

As `dio_write_out`, but the reference is a pipe's, which lasts until somebody reads: here a slow reader may hold off the
seal as long as he likes.  A strategy that cannot tell a reader's reference from a writer's refuses it without need.

    reader    reads the pipe
    sealer    adds F_SEAL_WRITE
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import EBUSY, F_SEAL_WRITE, MFD_ALLOW_SEALING, PAGE_SIZE, Syscalls, fill
from mmsim.verdict import HOLDS, OTHERS


@attrs.frozen
class Shared:
    fd: int
    read: int
    write: int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    read, write = await sys.pipe()
    await sys.splice(fd, 0, write, PAGE_SIZE)
    return Shared(fd, read, write)


async def reader(sys: Syscalls, shared: Shared) -> bytes | int:
    return await sys.read(shared.read, PAGE_SIZE)


async def sealer(sys: Syscalls, shared: Shared) -> int:
    return await sys.add_seals(shared.fd, F_SEAL_WRITE)


def the_pipe_has_the_content(reader: bytes | int) -> bool:
    return reader == fill(b"orig")


def seal_granted(sealer: int) -> bool:
    return sealer == 0


def seal_refused_for_a_reader(sealer: int) -> bool:
    return sealer == -EBUSY


scenario = Scenario(
    question="references",
    sibling="vmsplice_of_a_private_page",
    setup=setup,
    threads=(reader, sealer),
    always=(the_pipe_has_the_content,),
    sometimes=(seal_granted,),
    needless=(seal_refused_for_a_reader,),
    expect={OTHERS: HOLDS},
)
