"""A file becomes executable while F_SEAL_EXEC is added: if both succeed it is sealed against writing as well.

F_SEAL_EXEC fixes who may execute the file; what may be executed must not change either.

    changer    makes the file executable
    sealer     adds F_SEAL_EXEC, then looks at the seals
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    EPERM,
    F_SEAL_EXEC,
    F_SEAL_WRITE,
    MFD_ALLOW_SEALING,
    MFD_EXEC,
    Syscalls,
)
from mmsim.verdict import HOLDS, OTHERS


@attrs.frozen
class Sealed:
    answer: int
    seals: int


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING | MFD_EXEC)
    await sys.fchmod(fd, 0o600)
    return fd


async def changer(sys: Syscalls, fd: int) -> int:
    return await sys.fchmod(fd, 0o700)


async def sealer(sys: Syscalls, fd: int) -> Sealed:
    return Sealed(await sys.add_seals(fd, F_SEAL_EXEC), await sys.get_seals(fd))


def what_is_executable_is_sealed_against_writing(changer: int, sealer: Sealed) -> bool:
    return sealer.answer != 0 or (changer == 0) == bool(sealer.seals & F_SEAL_WRITE)


def made_executable_first(changer: int) -> bool:
    return changer == 0


def sealed_first(changer: int) -> bool:
    return changer == -EPERM


scenario = Scenario(
    question="other seals",
    sibling="seal_exec_implies_write",
    setup=setup,
    threads=(changer, sealer),
    always=(what_is_executable_is_sealed_against_writing,),
    sometimes=(made_executable_first, sealed_first),
    release="v7.0",
    expect={OTHERS: HOLDS},
)
