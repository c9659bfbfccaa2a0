"""A sealed memfd is spliced into a pipe, and more is written into the same pipe: the file's content stays.

The splice is legal, for the reference is one to read.  What is written to the pipe afterwards must not be appended to
the page that it refers to (`dirty_pipe` is what happens otherwise).

    reader    splices half of the sealed memfd into a pipe, reads the pipe
    writer    writes a few bytes into the pipe
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
    await sys.add_seals(fd, F_SEAL_WRITE)
    return Shared(fd, *await sys.pipe())


async def reader(sys: Syscalls, shared: Shared) -> tuple[bytes | int, bytes | int]:
    await sys.splice(shared.fd, 0, shared.write, PAGE_SIZE // 2)
    return await sys.read(shared.read, PAGE_SIZE), await sys.pread(shared.fd, PAGE_SIZE)


async def writer(sys: Syscalls, shared: Shared) -> int:
    return await sys.write(shared.write, b"more")


def the_file_keeps_its_content(reader: tuple[bytes | int, bytes | int]) -> bool:
    return reader[1] == fill(b"orig")


def both_were_read(reader: tuple[bytes | int, bytes | int]) -> bool:
    return reader[0] == fill(b"orig")[: PAGE_SIZE // 2] + b"more"


def everything_was_written(writer: int) -> bool:
    return writer == len(b"more")


scenario = Scenario(
    question="references",
    sibling="dirty_pipe",
    setup=setup,
    threads=(reader, writer),
    always=(the_file_keeps_its_content, everything_was_written),
    sometimes=(both_were_read,),
    expect={OTHERS: HOLDS},
)
