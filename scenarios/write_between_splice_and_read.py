"""The file is written while its page waits in a pipe: the pipe shows it, for splice() copies nothing.

That is how Linux is, and breaks no promise: nothing is sealed before both are done, and the pipe is a view of the page.

    writer    writes the memfd
    reader    reads the pipe, then adds F_SEAL_WRITE
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import F_SEAL_WRITE, MFD_ALLOW_SEALING, PAGE_SIZE, Syscalls, fill
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


async def writer(sys: Syscalls, shared: Shared) -> int:
    return await sys.pwrite(shared.fd, fill(b"next"))


async def reader(sys: Syscalls, shared: Shared) -> tuple[bytes | int, int]:
    return await sys.read(shared.read, PAGE_SIZE), await sys.add_seals(shared.fd, F_SEAL_WRITE)


def the_pipe_has_one_content_or_the_other(reader: tuple[bytes | int, int]) -> bool:
    return reader[0] in (fill(b"orig"), fill(b"next"))


def the_pipe_shows_the_write(reader: tuple[bytes | int, int]) -> bool:
    return reader[0] == fill(b"next")


def seal_granted(reader: tuple[bytes | int, int]) -> bool:
    return reader[1] == 0


scenario = Scenario(
    question="references",
    sibling="dirty_pipe",
    setup=setup,
    threads=(writer, reader),
    always=(the_pipe_has_one_content_or_the_other,),
    sometimes=(the_pipe_shows_the_write, seal_granted),
    expect={OTHERS: HOLDS},
)
