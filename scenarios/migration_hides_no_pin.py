"""A pinned page that a bystander maps is unmapped for migration, and mapped again, while the seal compares its counts.

As `bystander_maps_privately`, but nobody maps or unmaps anything: migration takes the map count away and gives it back
when it finds the pin.  It holds a reference of its own meanwhile, so the two loads of the check cannot be misled by it.

    mover     moves the page that it maps privately
    sealer    adds F_SEAL_WRITE
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EBUSY,
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
from mmsim.verdict import HOLDS, OTHERS, UNASKED, VIOLATED

SLOW = Device("slow")


@attrs.frozen
class Shared:
    fd: int
    window: int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    window = await sys.mmap(fd, PROT_READ, MAP_PRIVATE)
    await sys.load(window)
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.submit_direct_read(SLOW, buffer, fill(b"late"))
    await sys.munmap(buffer)
    return Shared(fd, window)


async def mover(sys: Syscalls, shared: Shared) -> int:
    return await sys.move_pages(shared.window)


async def sealer(sys: Syscalls, shared: Shared) -> int:
    return await sys.add_seals(shared.fd, F_SEAL_WRITE)


def seal_granted(sealer: int) -> bool:
    return sealer == 0


def pinned_and_not_moved(mover: int) -> bool:
    return mover == -EBUSY


scenario = Scenario(
    question="references",
    setup=setup,
    threads=(mover, sealer),
    devices=(SLOW,),
    sometimes=(seal_granted, pinned_and_not_moved),
    expect={
        OTHERS: HOLDS,
        "sealing_v2": VIOLATED,
        "delayed_unmap_mutex": VIOLATED,
        "delayed_unmap_irq_lock": VIOLATED,
        "delayed_unmap_sync": UNASKED,  # setup waits for the device, and no pin is left
        "leftover_flag": VIOLATED,
    },
)
