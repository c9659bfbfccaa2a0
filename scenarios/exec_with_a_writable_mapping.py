"""A file is executed while somebody has it mapped writable: execve() must refuse, for a mapping keeps its file open.

As `exec_with_a_pin_left`, but the mapping is still there, and is used and dropped while execve() asks.

    runner    executes the file, reads its own text twice
    user      stores to the mapping, unmaps it
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario, process
from mmsim.syscalls import (
    ETXTBSY,
    MAP_SHARED,
    O_CREAT,
    O_RDWR,
    PROT_READ,
    PROT_WRITE,
    Mount,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS

FILES = Mount("tmp", "tmpfs")


@attrs.frozen
class Seen:
    executed: int
    first: object = None
    second: object = None


async def setup(sys: Syscalls) -> int:
    fd = await sys.open(FILES, "prog", O_RDWR | O_CREAT)
    await sys.pwrite(fd, fill(b"orig"))
    window = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.close(fd)
    return window


async def runner(sys: Syscalls, _window: int) -> Seen:
    text = await sys.execve(FILES, "prog")
    return Seen(text) if text < 0 else Seen(0, await sys.load(text), await sys.load(text))


async def user(sys: Syscalls, window: int) -> None:
    await sys.store(window, fill(b"next"))
    await sys.munmap(window)


def the_text_never_changes(runner: Seen) -> bool:
    return runner.first == runner.second


def executed(runner: Seen) -> bool:
    return runner.executed == 0


def refused(runner: Seen) -> bool:
    return runner.executed == -ETXTBSY


scenario = Scenario(
    question="text",
    sibling="exec_with_a_pin_left",
    setup=setup,
    threads=(user, process(runner)),
    mounts=(FILES,),
    always=(the_text_never_changes,),
    sometimes=(executed, refused),
    expect={OTHERS: HOLDS},
    model_only=True,
)
