"""A remount read-only is refused for the sake of a private mapping, which can write no file.

As `remount_with_only_a_mapping`, but private: what counts is how the file was opened.

    loader       reads the mapping
    remounter    remounts read-only
"""

from __future__ import annotations

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EBUSY,
    MAP_PRIVATE,
    MS_RDONLY,
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


async def setup(sys: Syscalls) -> int:
    fd = await sys.open(FILES, "frame", O_RDWR | O_CREAT)
    await sys.pwrite(fd, fill(b"orig"))
    window = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE)
    await sys.close(fd)
    return window


async def loader(sys: Syscalls, window: int) -> object:
    return await sys.load(window)


async def remounter(sys: Syscalls, _: int) -> int:
    return await sys.remount(FILES, MS_RDONLY)


def the_answer_is_linuxs(remounter: int) -> bool:
    return remounter == -EBUSY


def the_mapping_shows_the_file(loader: object) -> bool:
    return loader == fill(b"orig")


def refused_although_nobody_can_write(remounter: int) -> bool:
    return remounter == -EBUSY


scenario = Scenario(
    question="remount",
    sibling="remount_with_a_pin_left",
    setup=setup,
    threads=(loader, remounter),
    mounts=(FILES,),
    always=(the_answer_is_linuxs, the_mapping_shows_the_file),
    sometimes=(the_answer_is_linuxs,),
    needless=(refused_although_nobody_can_write,),
    expect={OTHERS: HOLDS},
)
