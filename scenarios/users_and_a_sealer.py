"""Several processes each have a direct read into one memfd in flight when it is sealed: the mail's race, scaled.

As `dio_from_another_process`, but with any number of users (`make(n)`), each with a slow device of its own.  Nobody
looks at the content: that sealed content never changes is checked of every scenario.  The catalogue has one user, the
benchmarks and the tests have two and three.

    user      (n processes) maps the memfd, reads from its own device straight into it, unmaps it
    sealer    adds F_SEAL_WRITE
"""

from __future__ import annotations

from mmsim.scenario import Scenario, copies
from mmsim.syscalls import (
    EBUSY,
    F_SEAL_WRITE,
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
    return fd


async def user(sys: Syscalls, fd: int) -> int:
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    if buffer < 0:
        return buffer
    await sys.submit_direct_read(SLOW, buffer, fill(b"late"))
    return await sys.munmap(buffer)


async def sealer(sys: Syscalls, fd: int) -> int:
    return await sys.add_seals(fd, F_SEAL_WRITE)


def seal_granted(sealer: int) -> bool:
    return sealer == 0


def seal_refused(sealer: int) -> bool:
    return sealer == -EBUSY


def make(n: int) -> Scenario:
    """The race with `n` users."""
    return Scenario(
        question="seal",
        setup=setup,
        threads=(copies(n, user, devices=(SLOW,)), sealer),
        sometimes=(seal_granted, seal_refused),
        expect={
            OTHERS: HOLDS,
            "sealing_v2": VIOLATED,
            "delayed_unmap_mutex": VIOLATED,
            "delayed_unmap_irq_lock": VIOLATED,
            "delayed_unmap_look_first": VIOLATED,
        },
    )


scenario = make(1)
