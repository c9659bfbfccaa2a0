"""A file is opened for writing and written while somebody executes it: one of the two must be refused with ETXTBSY.

Up to v5.14 the mapping of the text kept writers away (VM_DENYWRITE), since v5.15 mm->exe_file does.  v6.11 did away
with it ("fs: don't block i_writecount during exec"), and a linker that reuses its output file overwrote programs that
ran; v6.13 has it back, and so have v6.11.11 and v6.12.2.

    runner    executes the file, reads its own text twice
    writer    opens the file for writing, writes, closes it
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario, process
from mmsim.syscalls import O_CREAT, O_RDWR, Mount, Syscalls, fill
from mmsim.verdict import HOLDS, OTHERS, VIOLATED

FILES = Mount("tmp", "tmpfs")


@attrs.frozen
class Seen:
    executed: int
    first: object = None
    second: object = None


async def setup(sys: Syscalls) -> None:
    fd = await sys.open(FILES, "prog", O_RDWR | O_CREAT)
    await sys.pwrite(fd, fill(b"orig"))
    await sys.close(fd)


async def runner(sys: Syscalls, _shared: None) -> Seen:
    text = await sys.execve(FILES, "prog")
    return Seen(text) if text < 0 else Seen(0, await sys.load(text), await sys.load(text))


async def writer(sys: Syscalls, _shared: None) -> int:
    fd = await sys.open(FILES, "prog", O_RDWR)
    if fd < 0:
        return fd
    await sys.pwrite(fd, fill(b"next"))
    return await sys.close(fd)


def the_text_never_changes(runner: Seen) -> bool:
    return runner.first == runner.second


def it_runs(runner: Seen) -> bool:
    return runner.executed == 0


def it_is_written(writer: int) -> bool:
    return writer == 0


scenario = Scenario(
    question="history",
    setup=setup,
    threads=(process(runner), process(writer)),
    mounts=(FILES,),
    always=(the_text_never_changes,),
    sometimes=(it_runs, it_is_written),
    history={
        "v3.17": HOLDS,
        "v5.15": HOLDS,
        "v6.11": VIOLATED,
        "v6.12": VIOLATED,
        "v6.13": HOLDS,
    },
    release="v6.11",
    model_only=True,
    expect={OTHERS: VIOLATED},  # nothing is promised there, so no design is asked
)
