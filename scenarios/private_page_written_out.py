"""A page mapped privately and never written is written to a slow device: the device holds the page of the file.

As `dio_write_out`, but through a MAP_PRIVATE mapping, which no seal asks about: its owner may not even have the file
open for writing, and can nevertheless keep it from being sealed, for as long as the device takes.

    sealer    adds F_SEAL_WRITE, waits for the device, looks at what it got
"""

from __future__ import annotations

from typing import Any

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EBUSY,
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MFD_ALLOW_SEALING,
    PROT_READ,
    Device,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS

SLOW = Device("slow")


@attrs.frozen
class Shared:
    fd: int
    io: Any


@attrs.frozen
class Seen:
    sealed: int
    written: bytes


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    window = await sys.mmap(fd, PROT_READ, MAP_PRIVATE)
    return Shared(fd, await sys.submit_direct_write(SLOW, window))


async def sealer(sys: Syscalls, shared: Shared) -> Seen:
    sealed = await sys.add_seals(shared.fd, F_SEAL_WRITE)
    await sys.wait_for(shared.io)
    return Seen(sealed, await sys.device_contents(SLOW))


def the_device_gets_the_file(sealer: Seen) -> bool:
    return sealer.written == fill(b"orig")


def seal_granted(sealer: Seen) -> bool:
    return sealer.sealed == 0


def seal_refused_for_a_reader(sealer: Seen) -> bool:
    return sealer.sealed == -EBUSY


scenario = Scenario(
    question="references",
    setup=setup,
    threads=(sealer,),
    devices=(SLOW,),
    always=(the_device_gets_the_file,),
    sometimes=(seal_granted,),
    needless=(seal_refused_for_a_reader,),
    expect={OTHERS: HOLDS},
    sibling="bystander_maps_privately",
)
