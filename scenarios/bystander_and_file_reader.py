"""A read of the file ends just as a bystander maps it, while a device still fills the page.

As `bystander_maps_privately`, but the two counts that somebody compares change in two other tasks: whoever puts the
reference of the read may take the bystander's mapping for the cure of the device's reference.

    file_reader    reads the file
    bystander      (own process) maps the memfd privately and read-only, looks at it
    sealer         adds F_SEAL_WRITE
"""

from __future__ import annotations

from mmsim.scenario import Scenario, process
from mmsim.syscalls import (
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PROT_READ,
    PROT_WRITE,
    Device,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS, VIOLATED

SLOW = Device("slow")


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.submit_direct_read(SLOW, buffer, fill(b"late"))
    await sys.munmap(buffer)
    return fd


async def file_reader(sys: Syscalls, fd: int) -> None:
    await sys.pread(fd, 4)


async def bystander(sys: Syscalls, fd: int) -> None:
    await sys.load(await sys.mmap(fd, PROT_READ, MAP_PRIVATE), 4)


async def sealer(sys: Syscalls, fd: int) -> int:
    return await sys.add_seals(fd, F_SEAL_WRITE)


def seal_granted(sealer: int) -> bool:
    return sealer == 0


scenario = Scenario(
    question="references",
    setup=setup,
    threads=(file_reader, process(bystander), sealer),
    devices=(SLOW,),
    sometimes=(seal_granted,),
    expect={
        OTHERS: HOLDS,
        "sealing_v2": VIOLATED,
        "wait_for_pins": VIOLATED,
        "page_replacement": VIOLATED,
        "delayed_unmap_mutex": VIOLATED,
        "delayed_unmap_irq_lock": VIOLATED,
        "leftover_flag": VIOLATED,
        "refuse_if_pinned": VIOLATED,
    },
    model_only=True,  # as its sibling
)
