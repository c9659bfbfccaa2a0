"""A write to a pipe is merged into a page of a sealed memfd that was spliced there: CVE-2022-0847, Dirty Pipe.

A slot of the pipe that once held written data kept PIPE_BUF_FLAG_CAN_MERGE, and splice() put a file's page there
without setting the flags; since v5.8 the flag alone decides whether the next write is appended to the page.  No
mapping and no pin is involved, so no design that counts them can see it; `splice_after_the_seal` has an unused pipe.

    user    splices the first bytes of the sealed memfd into a used pipe, writes into the pipe, reads the file
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import F_SEAL_WRITE, MFD_ALLOW_SEALING, PAGE_SIZE, Syscalls, fill
from mmsim.verdict import HOLDS, OTHERS, VIOLATED


@attrs.frozen
class Shared:
    fd: int
    read: int
    write: int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    await sys.add_seals(fd, F_SEAL_WRITE)
    read, write = await sys.pipe()
    await sys.write(write, fill(b"used", 16))  # as many pages as a pipe has slots
    await sys.read(read, 16 * PAGE_SIZE)
    return Shared(fd, read, write)


async def user(sys: Syscalls, shared: Shared) -> bytes | int:
    await sys.splice(shared.fd, 0, shared.write, 4)
    await sys.write(shared.write, b"dirt")
    return await sys.pread(shared.fd, PAGE_SIZE)


def the_file_keeps_its_content(user: bytes | int) -> bool:
    return user == fill(b"orig")


scenario = Scenario(
    question="history",
    setup=setup,
    threads=(user,),
    always=(the_file_keeps_its_content,),
    sometimes=(the_file_keeps_its_content,),
    release="v5.8",
    history={"v5.7": HOLDS, "v5.8": VIOLATED, "v5.16": VIOLATED, "v5.17": HOLDS},
    model_only=True,
    expect={OTHERS: VIOLATED},  # nobody pinned it to write
)
