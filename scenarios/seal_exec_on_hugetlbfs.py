"""F_SEAL_EXEC is granted on a memfd of huge pages, where nobody asks it when the mode changes.

As `seal_exec_races_fchmod`, but with MFD_HUGETLB: hugetlbfs sets the mode without a look at the seals, from the first
release that has the seal to the last one known here.

    admin    seals the mode of a file that is not executable, then makes it executable
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import F_SEAL_EXEC, MFD_ALLOW_SEALING, MFD_HUGETLB, Syscalls
from mmsim.verdict import OTHERS, VIOLATED


@attrs.frozen
class Seen:
    sealed: int
    changed: int


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING | MFD_HUGETLB)
    await sys.fchmod(fd, 0o644)
    return fd


async def admin(sys: Syscalls, fd: int) -> Seen:
    return Seen(await sys.add_seals(fd, F_SEAL_EXEC), await sys.fchmod(fd, 0o777))


def a_sealed_mode_never_becomes_executable(admin: Seen) -> bool:
    return admin.sealed != 0 or admin.changed != 0


def seal_granted(admin: Seen) -> bool:
    return admin.sealed == 0


scenario = Scenario(
    question="other seals",
    setup=setup,
    threads=(admin,),
    always=(a_sealed_mode_never_becomes_executable,),
    sometimes=(seal_granted,),
    expect={OTHERS: VIOLATED},
    release="v6.3",
    model_only=True,
)
