"""A memfd goes with its last descriptor and mapping while the device still owes it a write.

The inode is evicted and its page leaves the cache; the pin keeps the page alone alive.  A design that leaves a debt
with the file, to be paid by whoever drops the last pin, pays it to an inode that is no more.  Nor can the debt hold a
reference to the inode, for the last one may not be dropped in an interrupt: iput() can sleep.

    user      maps a memfd of its own, reads from a slow device straight into it, unmaps it, closes it, waits
"""

from __future__ import annotations

from mmsim.scenario import Scenario, process
from mmsim.syscalls import MAP_SHARED, MFD_ALLOW_SEALING, PROT_READ, PROT_WRITE, Device, Syscalls, fill
from mmsim.verdict import HOLDS, OTHERS, VIOLATED

SLOW = Device("slow")


async def setup(_sys: Syscalls) -> None:
    pass


async def user(sys: Syscalls, _shared: None) -> int:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    io = await sys.submit_direct_read(SLOW, buffer, fill(b"late"))
    await sys.munmap(buffer)
    await sys.close(fd)
    return await sys.wait_for(io)


def the_read_completes(user: int) -> bool:
    return user == 4096


scenario = Scenario(
    question="kept",
    setup=setup,
    threads=(process(user),),
    devices=(SLOW,),
    sometimes=(the_read_completes,),
    evicts=True,
    expect={
        OTHERS: HOLDS,
        "writable_user_pages_slow": VIOLATED,
        "writable_user_pages_lookup": VIOLATED,
        "writable_user_pages": VIOLATED,
        "delayed_unmap": VIOLATED,
        "delayed_unmap_mutex": VIOLATED,
        "delayed_unmap_irq_lock": VIOLATED,
        "delayed_unmap_irqsave": VIOLATED,
        "delayed_unmap_look_first": VIOLATED,
        "leftover_flag": VIOLATED,
    },
)
