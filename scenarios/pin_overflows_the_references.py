"""A page has so many references that one pin wraps their count, if a pin counts for 1024 of them.

GUP_PIN_COUNTING_BIAS leaves room for 2^21 pins below INT_MAX, or 2^22 in all.  As `references_overflow`, but others
leave the count 1023 short of wrapping, and a device's pin is what wraps it: whoever gives a reference back then frees
the page that the device is going to write.  A design whose pin counts for one stays clear of it by as much.

    user      reads from the device into the mapped file, reads the pipe, waits for the device
"""

from __future__ import annotations

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Device,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, OTHERS, VIOLATED

SLOW = Device("slow")
OTHER_PINS = 2**22 - 1
"""How many pins there are already, in words of the 1024 references that each stands for."""


async def setup(sys: Syscalls) -> tuple[int, int]:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.load(buffer)
    read, write = await sys.pipe()
    await sys.splice(fd, 0, write, PAGE_SIZE)
    await sys.tee_many(read, 1024 * OTHER_PINS - 2)
    return buffer, read


async def user(sys: Syscalls, shared: tuple[int, int]) -> int:
    buffer, read = shared
    io = await sys.submit_direct_read(SLOW, buffer, fill(b"late"))
    await sys.read(read, PAGE_SIZE)
    return await sys.wait_for(io)


def the_device_has_written(user: int) -> bool:
    return user == PAGE_SIZE


scenario = Scenario(
    question="kept",
    setup=setup,
    threads=(user,),
    devices=(SLOW,),
    sometimes=(the_device_has_written,),
    expect={OTHERS: HOLDS, "pin_user_pages": VIOLATED},
    model_only=True,
)
