"""A direct read completes into a file of an ext4 that was remounted read-only, and the flusher writes it to the disk.

As `remount_with_a_pin_left`, but the page has a disk behind it, and a flusher that asks no mount whether it may write.

    remounter    remounts read-only while nothing but the device's pin is left, then looks at the disk twice
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    MAP_SHARED,
    MS_RDONLY,
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

FILES = Mount("disk", "ext4")
SLOW = Device("slow")


@attrs.frozen
class Seen:
    remounted: int
    first: bytes | int
    second: bytes | int


async def setup(sys: Syscalls) -> None:
    fd = await sys.open(FILES, "frame", O_RDWR | O_CREAT)
    await sys.pwrite(fd, fill(b"orig"))
    await sys.sync()
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.submit_direct_read(SLOW, buffer, fill(b"late"))
    await sys.munmap(buffer)
    await sys.close(fd)


async def remounter(sys: Syscalls, _: None) -> Seen:
    remounted = await sys.remount(FILES, MS_RDONLY)
    return Seen(remounted, await sys.disk_contents(FILES, "frame"), await sys.disk_contents(FILES, "frame"))


def disk_of_a_read_only_mount_never_changes(remounter: Seen) -> bool:
    return remounter.remounted != 0 or remounter.first == remounter.second


def remount_granted(remounter: Seen) -> bool:
    return remounter.remounted == 0


scenario = Scenario(
    question="remount",
    setup=setup,
    threads=(remounter,),
    mounts=(FILES,),
    devices=(SLOW,),
    always=(disk_of_a_read_only_mount_never_changes,),
    sometimes=(remount_granted,),
    expect={
        OTHERS: HOLDS,
        "sealing_v2": VIOLATED,
        "wait_for_pins": VIOLATED,  # Linux asks nobody before it promises this
        "delayed_unmap_mutex": VIOLATED,
        "delayed_unmap_irq_lock": VIOLATED,
        # The copy has what the device had written by then, and who notes that it is dirty notes it on the old page.
        "page_replacement": VIOLATED,
        "copy_on_seal": VIOLATED,
        "unmap_then_replace": VIOLATED,
    },
    model_only=True,
)
