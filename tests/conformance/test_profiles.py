"""Profiles: which release of the model a kernel is, by what it says of itself."""

from __future__ import annotations

import attrs
import pytest

from mmsim.conformance.profile import nearest, number_of, profile
from mmsim.conformance.real import ARENA, FIRST
from mmsim.conformance.sequential import model
from mmsim.conformance.sequential.program import Call
from mmsim.errors import UserError
from mmsim.kernel.releases import release_named
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.syscalls import (
    F_SEAL_EXEC,
    F_SEAL_FUTURE_WRITE,
    F_SEAL_GROW,
    F_SEAL_WRITE,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    MADV_DONTNEED,
    MFD_ALLOW_SEALING,
    MFD_HUGETLB,
    PAGE_SIZE,
)


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ({"release": "6.1.0-56-cloud-amd64", "built": "#1 SMP Debian 6.1.192-2 (2026-11-16)"}, "v6.1.192"),
        ({"release": "6.12.117+deb13-cloud-amd64", "built": "#1 SMP Debian 6.12.117-1"}, "v6.12.117"),
        ({"release": "6.18.15+deb13-cloud-amd64", "built": "#1 SMP Debian 6.18.15-1~bpo13+1 (2026)"}, "v6.18.15"),
        ({"release": "6.12.101", "user_mode": True, "huge": False}, "v6.12.101-um"),
        ({"release": "6.12.4", "huge": False}, "v6.12.4-nothp"),
        ({"release": "7.3.4+deb13", "force": False}, "v7.3.4-noforce"),
        ({"release": "6.17-rc3"}, "v6.17"),
    ],
)
def test_the_profile_of_a_kernel(told, name):
    found = profile(**told)
    assert found.name == name
    assert release_named(name) == found  # which the scenario of a difference names


@pytest.mark.parametrize(
    ("release", "said"), [("7.4.1", "of no series"), ("6.44.0", "of no series"), ("2.6.32", "older than all")]
)
def test_a_kernel_of_no_known_series(release, said):
    with pytest.raises(UserError, match=said):
        profile(release)


def test_the_running_kernel_may_be_younger_than_the_model():
    assert nearest("7.9.1").name == "v7.3"
    assert nearest("6.18.44-fc-v782", "#1 SMP PREEMPT_DYNAMIC @0").name == "v6.18.44"
    assert number_of("6.18.44", "Debian 6.1.192-2") == (6, 18, 44)  # of another series, so it is not the kernel's


SEALABLE = Call(0, "memfd_create", ("file", MFD_ALLOW_SEALING))
FD = FIRST


def mapped(prot, at=0):
    return Call(0, "mmap", (FD, prot, 0x11, PAGE_SIZE, at * PAGE_SIZE, ARENA + at * PAGE_SIZE))


def sealed(seals):
    return Call(0, "add_seals", (FD, seals))


SIZED = Call(0, "ftruncate", (FD, 2 * PAGE_SIZE))
READ_ONLY_OF_SEALED = (SEALABLE, SIZED, sealed(F_SEAL_WRITE), mapped(1))
ACROSS_THE_SIZE = (SEALABLE, SIZED, sealed(F_SEAL_GROW), Call(0, "pwrite", (FD, 65, 3 * PAGE_SIZE, 0)))
EXEC_WHILE_MAPPED = (SEALABLE, SIZED, mapped(3), sealed(F_SEAL_EXEC))
REFUSED_OVER_ANOTHER = (SEALABLE, SIZED, mapped(3), sealed(F_SEAL_FUTURE_WRITE), mapped(3), Call(0, "load", (ARENA, 1)))
MADE_LONGER = (SEALABLE, SIZED, mapped(3), sealed(F_SEAL_FUTURE_WRITE), mapped(3, 1))
TAKEN_OUT_AND_PUT_BACK = (
    SEALABLE,
    Call(0, "mmap", (FD, 3, 0x11, 2 * PAGE_SIZE, 0, ARENA)),
    sealed(F_SEAL_EXEC),
    mapped(3),
)
MOVE_OF_TWO = (
    SEALABLE,
    SIZED,
    mapped(1),
    mapped(3, 1),
    Call(0, "mremap", (ARENA, 2 * PAGE_SIZE, 2 * PAGE_SIZE, 3, ARENA + 8 * PAGE_SIZE)),
)
OVERLAP_OF_NOTHING = (Call(0, "mremap", (ARENA, PAGE_SIZE, PAGE_SIZE, 3, ARENA)),)
HUGE = Call(0, "memfd_create", ("file", MFD_ALLOW_SEALING | MFD_HUGETLB))
GROWN_BY_A_MAPPING = (HUGE, sealed(F_SEAL_GROW), mapped(3), Call(0, "pread", (FD, PAGE_SIZE, 0)))
NOT_BY_ONE_TO_READ = (HUGE, mapped(1), Call(0, "load", (ARENA, 1)))
PUNCH = Call(0, "fallocate", (FD, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 1, PAGE_SIZE))
HOLE_WITHIN_A_PAGE = (HUGE, SIZED, mapped(3), Call(0, "store", (ARENA, 65, 2)), PUNCH, Call(0, "pread", (FD, 2, 0)))
SEALED_HOLE_WITHIN_A_PAGE = (HUGE, SIZED, sealed(F_SEAL_WRITE), PUNCH)
SEALED_HOLE = (*SEALED_HOLE_WITHIN_A_PAGE[:-1], attrs.evolve(PUNCH, arguments=(*PUNCH.arguments[:-1], 2 * PAGE_SIZE)))
PAGE_NOT_FILLED = (HUGE, Call(0, "fallocate", (FD, 0, 0, 1)), mapped(1), Call(0, "load", (ARENA, 1)))
PRIVATE = Call(0, "mmap", (FD, 3, 0x12, PAGE_SIZE, 0, ARENA))
ALL = Call(0, "fallocate", (FD, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 2 * PAGE_SIZE))
HOLE_IN_A_COPY = (HUGE, SIZED, PRIVATE, Call(0, "store", (ARENA, 65, 1)), ALL, Call(0, "load", (ARENA, 1)))
STORED_BESIDE = (
    Call(0, "mmap", (FD, 3, 0x11, PAGE_SIZE, 0, ARENA + PAGE_SIZE)),
    Call(0, "store", (ARENA + PAGE_SIZE, 65, 1)),
)
LOAD_IN_A_HOLE = (HUGE, SIZED, PRIVATE, Call(0, "load", (ARENA, 1)), *STORED_BESIDE, Call(0, "load", (ARENA, 1)))
DONTNEED = (HUGE, SIZED, mapped(3), Call(0, "madvise", (ARENA, PAGE_SIZE, MADV_DONTNEED)))
MOVE = Call(0, "mremap", (ARENA, PAGE_SIZE, PAGE_SIZE, 3, ARENA + 8 * PAGE_SIZE))
MOVE_OF_HUGE, GROWTH_OF_HUGE = (
    (HUGE, SIZED, mapped(3), attrs.evolve(MOVE, arguments=(ARENA, PAGE_SIZE, size, 3, ARENA + 8 * PAGE_SIZE)))
    for size in (PAGE_SIZE, 2 * PAGE_SIZE)
)
WRITE_ONLY = (SEALABLE, SIZED, mapped(2), Call(0, "load", (ARENA, 1)))
EPERM, EBUSY, EFAULT, EINVAL = -1, -16, -14, -22

DIFFERING = [
    (READ_ONLY_OF_SEALED, {"v5.10.218": EPERM, "v5.10.262": ARENA, "v6.1.148": EPERM, "v6.1.192": ARENA}),
    (READ_ONLY_OF_SEALED, {"v6.12.8": EPERM, "v6.12.9": ARENA, "v6.12.117": ARENA, "v7.3.4": ARENA}),
    (ACROSS_THE_SIZE, {"v6.1.192": 2 * PAGE_SIZE, "v6.12.117": EPERM, "v6.12.117-nothp": 2 * PAGE_SIZE}),
    (ACROSS_THE_SIZE, {"v6.18.15": 2 * PAGE_SIZE, "v7.2.12": EPERM, "v7.2.7-um": 2 * PAGE_SIZE}),
    (EXEC_WHILE_MAPPED, {"v6.1.192": EINVAL, "v6.12.90": 0, "v6.12.117": EBUSY, "v6.18.15": 0, "v6.18.44": EBUSY}),
    (REFUSED_OVER_ANOTHER, {"v6.12.90": "SIGSEGV", "v6.12.118": b"\0"}),
    (MADE_LONGER, {"v5.10.262": ARENA + PAGE_SIZE, "v6.12.90": ARENA + PAGE_SIZE, "v6.12.93": EPERM, "v7.3.4": EPERM}),
    (TAKEN_OUT_AND_PUT_BACK, {"v6.12.90": ARENA, "v6.18.15": EPERM}),
    (MOVE_OF_TWO, {"v6.12.117": EFAULT, "v6.16.12": EFAULT, "v6.17.13": ARENA + 8 * PAGE_SIZE}),
    (OVERLAP_OF_NOTHING, {"v5.10.262": EINVAL, "v6.1.192": EFAULT, "v6.16.12": EFAULT, "v6.17.13": EINVAL}),
    (GROWN_BY_A_MAPPING, dict.fromkeys(("v5.10.262", "v6.1.192", "v7.3.4"), bytes(PAGE_SIZE))),
    (NOT_BY_ONE_TO_READ, dict.fromkeys(("v5.10.262", "v6.1.192", "v7.3.4"), "SIGBUS")),
    (HOLE_WITHIN_A_PAGE, {"v5.10.262": b"AA", "v6.1.192": b"A\0", "v7.3.4": b"A\0"}),
    (SEALED_HOLE_WITHIN_A_PAGE, {"v5.10.262": 0, "v6.1.192": EPERM, "v7.3.4": EPERM}),
    (SEALED_HOLE, {"v5.10.262": EPERM, "v6.1.192": EPERM}),
    (PAGE_NOT_FILLED, {"v5.10.262": "SIGBUS", "v6.1.192": b"\0", "v7.3.4": b"\0"}),
    (HOLE_IN_A_COPY, dict.fromkeys(("v5.10.262", "v6.12.118", "v7.3.4"), b"\0")),
    (LOAD_IN_A_HOLE, dict.fromkeys(("v5.10.262", "v6.12.118", "v7.3.4"), b"\0")),
    (DONTNEED, {"v5.10.262": EINVAL, "v6.1.192": 0, "v7.3.4": 0}),
    (MOVE_OF_HUGE, {"v5.10.262": EINVAL, "v6.1.192": ARENA + 8 * PAGE_SIZE, "v7.3.4": ARENA + 8 * PAGE_SIZE}),
    (GROWTH_OF_HUGE, dict.fromkeys(("v5.10.262", "v6.1.192", "v7.3.4"), EINVAL)),
    (WRITE_ONLY, {"v6.1.176": b"\0", "v6.1.176-um": "SIGSEGV"}),
]


@pytest.mark.parametrize(("program", "answers"), DIFFERING)
def test_stable_releases_and_builds_differ(program, answers):
    """As these kernels have it, by their own answers or (v6.1.148, v6.12.8, v6.12.9) by their changelogs."""
    told = {name: model.perform(program, wait_for_pins, release_named(name))[-1] for name in answers}
    assert told == answers


def test_a_file_is_of_the_kind_that_its_own_program_says():
    """Though the model's machine is not made anew for each program."""
    release = release_named("v6.12.118")
    programs = [(memfd, Call(0, "write", (FD, 65, 1))) for memfd in (SEALABLE, HUGE, SEALABLE, HUGE)]
    told = [model.perform(program, wait_for_pins, release)[-1] for program in programs]
    assert told == [1, EINVAL, 1, EINVAL]
