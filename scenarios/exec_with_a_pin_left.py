"""A direct read completes after the file that it fills has been executed: the device writes the text that runs.

As `remount_with_a_pin_left`, with execve() for the remount: it asks i_writecount, which counts files open for writing
and nobody who holds a page.

    runner    executes the file while nothing but the device's pin is left, then reads its own text twice
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
    Device,
    Mount,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS, VIOLATED

FILES = Mount("tmp", "tmpfs")
SLOW = Device("slow")


@attrs.frozen
class Seen:
    executed: int
    first: object = None
    second: object = None


async def setup(sys: Syscalls) -> None:
    fd = await sys.open(FILES, "prog", O_RDWR | O_CREAT)
    await sys.pwrite(fd, fill(b"orig"))
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.submit_direct_read(SLOW, buffer, fill(b"late"))
    await sys.munmap(buffer)
    await sys.close(fd)


async def runner(sys: Syscalls, _shared: None) -> Seen:
    text = await sys.execve(FILES, "prog")
    return Seen(text) if text < 0 else Seen(0, await sys.load(text), await sys.load(text))


def the_text_never_changes(runner: Seen) -> bool:
    return runner.first == runner.second


def executed(runner: Seen) -> bool:
    return runner.executed == 0


def refused_for_the_pin(runner: Seen) -> bool:
    return runner.executed == -ETXTBSY


scenario = Scenario(
    question="text",
    setup=setup,
    threads=(process(runner),),
    mounts=(FILES,),
    devices=(SLOW,),
    always=(the_text_never_changes,),
    sometimes=(executed,),
    expect={
        OTHERS: HOLDS,
        "sealing_v2": VIOLATED,
        "wait_for_pins": VIOLATED,  # Linux asks nobody before it promises this
        "delayed_unmap_mutex": VIOLATED,
        "delayed_unmap_irq_lock": VIOLATED,
    },
    model_only=True,
)
