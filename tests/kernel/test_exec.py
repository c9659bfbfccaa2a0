"""execve() and who may write meanwhile, release by release."""

from __future__ import annotations

import pytest

from mmsim.check import Test, check
from mmsim.errors import UserError
from mmsim.kernel.releases import EXE_FILE_DENIES_WRITE, EXEC_IGNORES_WRITERS, V3_17, Release
from mmsim.scenario import Scenario
from mmsim.strategies.delayed_unmap import delayed_unmap
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.syscalls import (
    ENOENT,
    ETXTBSY,
    F_SEAL_WRITE,
    MAP_SHARED,
    MS_RDONLY,
    O_CREAT,
    O_RDONLY,
    O_RDWR,
    O_TRUNC,
    O_WRONLY,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    SIGBUS,
    SIGSEGV,
    Device,
    Mount,
    fill,
)
from tests.kernel.alone import alone, filled, outcomes

TMP, DISK = Mount("tmp", "tmpfs"), Mount("disk", "ext4")
SLOW = Device("slow")
EACH = pytest.mark.parametrize("mount", [TMP, DISK], ids=["tmpfs", "ext4"])
DENYING = pytest.mark.parametrize("release", ["v3.17", "v5.13", "v5.15", "v6.7", "v6.13", "v7.3"])


async def made(sys, mount=TMP):
    fd = await sys.open(mount, "prog", O_RDWR | O_CREAT)
    await sys.pwrite(fd, fill(b"text"))
    return fd


async def opened_for_writing(sys, mount=TMP):
    """What each way to write it says, which opens nothing for good."""
    answers = []
    for flags in (O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC, O_RDWR | O_TRUNC):
        fd = await sys.open(mount, "prog", flags)
        answers.append(await sys.close(fd) if fd > 0 else fd)
    return answers


@EACH
@DENYING
def test_what_runs_cannot_be_opened_for_writing_and_what_is_open_so_cannot_run(mount, release):
    async def program(sys, _):
        fd = await made(sys, mount)
        busy = await sys.execve(mount, "prog")
        await sys.close(fd)
        reading = await sys.open(mount, "prog", O_RDONLY)
        text = await sys.execve(mount, "prog")
        return busy, await opened_for_writing(sys, mount), await sys.load(text, 4), await sys.pread(reading, 4)

    assert alone(program, mounts=(mount,), release=release) == (-ETXTBSY, [-ETXTBSY] * 4, b"text", b"text")


@pytest.mark.parametrize("release", ["v6.11", "v6.12"])
def test_in_two_releases_nobody_is_denied(release):
    async def program(sys, _):
        fd = await made(sys)
        text = await sys.execve(TMP, "prog")
        await sys.pwrite(fd, b"late")
        seen = await sys.load(text, 4)
        return seen, await opened_for_writing(sys), await sys.load(text, 4)

    assert alone(program, mounts=(TMP,), release=release) == (b"late", [0] * 4, SIGBUS)


@pytest.mark.parametrize("release", ["v6.11.11", "v6.12.2"])
def test_the_stable_releases_that_have_the_revert_deny(release):
    assert Release(release).has(EXE_FILE_DENIES_WRITE)
    assert not Release(release).has(EXEC_IGNORES_WRITERS)


def test_a_file_that_is_not_there_does_not_run():
    async def program(sys, _):
        return await sys.execve(TMP, "prog")

    assert alone(program, mounts=(TMP,)) == -ENOENT


def test_all_that_was_mapped_is_gone_and_descriptors_are_not():
    async def program(sys, _):
        fd = await made(sys)
        await sys.close(fd)
        data = await sys.open(TMP, "data", O_RDWR | O_CREAT)
        await sys.pwrite(data, fill(b"data"))
        await sys.mmap(data, PROT_READ | PROT_WRITE, MAP_SHARED)
        window = await sys.mmap(data, PROT_READ | PROT_WRITE, MAP_SHARED)
        await sys.store(window, b"late")
        text = await sys.execve(TMP, "prog")
        return await sys.load(window, 4), await sys.pread(data, 4), await sys.store(text, b"x"), await sys.load(text, 4)

    assert alone(program, mounts=(TMP,)) == (SIGSEGV, b"late", SIGSEGV, b"text")


def test_execve_waits_for_the_direct_reads_of_what_ran_before():
    async def program(sys, _):
        await sys.close(await made(sys))
        data = await sys.open(TMP, "data", O_RDWR | O_CREAT)
        await sys.pwrite(data, fill(b"data"))
        window = await sys.mmap(data, PROT_READ | PROT_WRITE, MAP_SHARED)
        await sys.submit_direct_read(SLOW, window, fill(b"disk"))
        await sys.execve(TMP, "prog")
        return await sys.pread(data, 4)

    assert alone(program, mounts=(TMP,), devices=(SLOW,)) == b"disk"


@DENYING
@pytest.mark.parametrize("design", [wait_for_pins, delayed_unmap], ids=lambda design: design.name)
def test_a_program_is_denied_as_long_as_somebody_runs_it(release, design):
    async def child(sys, _):
        await sys.exit()

    async def program(sys, _):
        await sys.close(await made(sys))
        await sys.close(await sys.open(TMP, "other", O_RDWR | O_CREAT))
        await sys.execve(TMP, "prog")
        await sys.fork(child)
        both = await opened_for_writing(sys)
        await sys.execve(TMP, "other")
        return both, await opened_for_writing(sys)  # the child, which has not run yet, has the text still

    told = outcomes(program, children=(child,), mounts=(TMP,), release=release, strategy=design)
    assert told == {"program": ([-ETXTBSY] * 4, [-ETXTBSY] * 4), "child": None}


def test_registered_buffers_do_not_outlive_execve():
    async def program(sys, _):
        await sys.close(await made(sys))
        memfd = await filled(sys)
        window = await sys.mmap(memfd, PROT_READ | PROT_WRITE, MAP_SHARED)
        await sys.register_buffer(window, PAGE_SIZE)
        await sys.execve(TMP, "prog")
        return await sys.add_seals(memfd, F_SEAL_WRITE)

    assert alone(program, mounts=(TMP,), release="v6.18") == 0


def test_a_file_that_ran_can_be_mapped_writable_again():
    async def program(sys, _):
        await sys.close(await made(sys))
        await sys.close(await sys.open(TMP, "other", O_RDWR | O_CREAT))
        await sys.execve(TMP, "prog")
        await sys.execve(TMP, "other")
        fd = await sys.open(TMP, "prog", O_RDWR)
        window = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
        return await sys.store(window, b"next"), await sys.pread(fd, 4)

    assert alone(program, mounts=(TMP,), strategy=delayed_unmap) == (None, b"next")


def test_the_next_program_lets_the_last_one_go():
    async def program(sys, _):
        await sys.close(await made(sys))
        await sys.close(await sys.open(TMP, "other", O_RDWR | O_CREAT))
        await sys.execve(TMP, "prog")
        await sys.execve(TMP, "other")
        return await opened_for_writing(sys)

    assert alone(program, mounts=(TMP,), release="v5.15") == [0] * 4


@pytest.mark.parametrize(("release", "answer"), [("v5.13", 0), ("v5.15", -ETXTBSY)])
def test_before_v5_15_it_is_the_mapping_that_denies(release, answer):
    async def program(sys, _):
        await sys.close(await made(sys))
        text = await sys.execve(TMP, "prog")
        await sys.munmap(text, PAGE_SIZE)
        return await opened_for_writing(sys)

    assert alone(program, mounts=(TMP,), release=release) == [answer] * 4


def test_a_program_runs_from_a_read_only_mount():
    async def program(sys, _):
        await sys.close(await made(sys))
        remounted = await sys.remount(TMP, MS_RDONLY)
        text = await sys.execve(TMP, "prog")
        return remounted, await sys.load(text, 4)

    assert alone(program, mounts=(TMP,)) == (0, b"text")


def test_a_process_of_several_threads_is_told_that_it_is_not_modelled():
    async def setup(sys):
        await sys.close(await made(sys))

    async def one(sys, _):
        await sys.execve(TMP, "prog")

    async def two(sys, _):
        return None

    with pytest.raises(UserError, match=r"thread one, at test_exec.py:[0-9]+ .*: execve\(\) .* a process of its own"):
        check(Test("t", Scenario(setup=setup, threads=(one, two), mounts=(TMP,)), wait_for_pins, V3_17))
