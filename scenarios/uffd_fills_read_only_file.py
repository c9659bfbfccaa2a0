"""CVE-2018-18397: UFFDIO_COPY fills a hole of a tmpfs file that was opened for reading only.

As `uffd_fills_sealed_hole`, with nothing sealed: what is asked of the kernel is that who may only read a file cannot
change it.  A shared mapping of such a file has neither VM_SHARED nor VM_MAYWRITE, and up to v4.19 nobody looked at
that.  Since v4.20 it cannot be registered.

    filler    maps the file, registers the mapping, UFFDIO_COPY to the hole
    reader    reads the file twice
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario, process
from mmsim.syscalls import (
    EPERM,
    MAP_SHARED,
    O_CREAT,
    O_RDONLY,
    O_RDWR,
    PAGE_SIZE,
    PROT_READ,
    UFFDIO_REGISTER_MODE_MISSING,
    Mount,
    Syscalls,
    fill,
)
from mmsim.verdict import HOLDS, VIOLATED

FILES = Mount("tmp", "tmpfs")


@attrs.frozen
class Filled:
    registered: int
    copied: int = 0


async def setup(sys: Syscalls) -> int:
    owned = await sys.open(FILES, "frame", O_RDWR | O_CREAT)
    await sys.ftruncate(owned, PAGE_SIZE)
    await sys.close(owned)
    return await sys.open(FILES, "frame", O_RDONLY)


async def filler(sys: Syscalls, fd: int) -> Filled:
    window = await sys.mmap(fd, PROT_READ, MAP_SHARED)
    registered = await sys.uffd_register(window, PAGE_SIZE, UFFDIO_REGISTER_MODE_MISSING)
    return Filled(registered) if registered else Filled(0, await sys.uffd_copy(window, fill(b"evil")))


async def reader(sys: Syscalls, fd: int) -> tuple[bytes | int, bytes | int]:
    return await sys.pread(fd, PAGE_SIZE), await sys.pread(fd, PAGE_SIZE)


def nobody_sees_the_file_change(reader: tuple[bytes | int, bytes | int]) -> bool:
    return reader[0] == reader[1]


def it_is_filled_or_refused(filler: Filled) -> bool:
    return filler.copied == PAGE_SIZE or filler.registered == -EPERM


scenario = Scenario(
    question="history",
    setup=setup,
    threads=(process(filler), process(reader)),
    mounts=(FILES,),
    always=(nobody_sees_the_file_change, it_is_filled_or_refused),
    sometimes=(it_is_filled_or_refused,),
    history={"v4.14": VIOLATED, "v4.19": VIOLATED, "v4.20": HOLDS},
    model_only=True,
)
