"""Logs of strace replayed in the model: agreement, wrong answers that are found, processes, bad logs, the report."""

from __future__ import annotations

import shutil
import subprocess

import attrs
import pytest

from mmsim.conformance.recorded import memory
from mmsim.conformance.recorded.log import parsed, read
from mmsim.conformance.recorded.run import conform_log, replay
from mmsim.errors import UserError
from mmsim.kernel import memfd, mmap, shmem
from mmsim.kernel.entry import memory as memory_calls
from mmsim.kernel.entry.descriptors import Descriptors
from mmsim.kernel.releases import release_named
from mmsim.kernel.strategy import look_at_no_pins
from mmsim.report import recorded as report
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.syscalls import F_SEAL_GROW
from tests.conformance.strace import (
    BUSY,
    MAPPED,
    NEW,
    RECORDED_ON,
    SAMPLES,
    SEAL,
    SIZED,
    lines_that_differ,
    replayed,
)


@pytest.mark.parametrize("sample", ["frames_symbolic", "frames_raw", "frames_terminal", "fuse_test"])
def test_what_linux_answered(sample):
    result = replay(read(SAMPLES / f"{sample}.log"), wait_for_pins, RECORDED_ON)
    assert lines_that_differ(result) == []
    assert not result.unreadable
    assert result.compared == (12 if sample == "fuse_test" else 213)


def test_an_older_release_differs():
    result = replay(read(SAMPLES / "frames_symbolic.log"), wait_for_pins, release_named("v6.1"))
    assert {difference.name for difference in result.differences} >= {"fcntl", "memfd_create", "mmap"}


# ---- wrong answers of the model are found in the sample


async def no_seals_in_mmap(_k, _inode, vm_flags):
    return vm_flags


def without_grow(seals):
    return seals & ~F_SEAL_GROW


async def nothing(_k, _start, _length):
    return 0


async def stays_open(self, fd):
    return 0


async def writes(_inode, _end):
    return 0


@pytest.mark.parametrize(
    ("owner", "name", "wrong", "found"),
    [
        (mmap, "memfd_check_seals_mmap", no_seals_in_mmap, "mmap"),
        (shmem, "shmem_write_begin", writes, "pwrite64"),
        (memory_calls, "do_munmap", nothing, "fcntl"),
        (Descriptors, "close", stays_open, "memfd_create"),
        (memfd, "F_ALL_IMPLIED_BY_EXEC", 0, "fcntl"),
    ],
    ids=["mmap ignores seals", "write ignores seals", "munmap does nothing", "close does nothing", "EXEC is alone"],
)
def test_a_wrong_answer_is_found(monkeypatch, owner, name, wrong, found):
    monkeypatch.setattr(owner, name, wrong)
    result = replay(read(SAMPLES / "frames_symbolic.log"), wait_for_pins, RECORDED_ON)
    assert found in {difference.name for difference in result.differences}
    assert report.status(result) == 1


def test_maywrite_that_stays_is_found(monkeypatch):
    original = mmap.memfd_check_seals_mmap

    async def wrong(k, inode, vm_flags):
        answer = await original(k, inode, vm_flags)
        return vm_flags if answer >= 0 else answer

    monkeypatch.setattr(mmap, "memfd_check_seals_mmap", wrong)
    result = replay(read(SAMPLES / "frames_symbolic.log"), wait_for_pins, RECORDED_ON)
    assert "mprotect" in {difference.name for difference in result.differences}


def test_growing_in_spite_of_the_seal_is_found(monkeypatch):
    original = shmem.shmem_setattr

    async def wrong(k, inode, size):
        await inode.seals.update(without_grow)
        return await original(k, inode, size)

    monkeypatch.setattr("mmsim.kernel.read_write.shmem_setattr", wrong)
    result = replay(read(SAMPLES / "frames_symbolic.log"), wait_for_pins, RECORDED_ON)
    assert "ftruncate" in {difference.name for difference in result.differences}


def test_a_design_that_ignores_pins_is_found_in_fuse_test():
    blind = attrs.evolve(wait_for_pins, name="blind", exclude_pins=look_at_no_pins)
    result = replay(read(SAMPLES / "fuse_test.log"), blind, RECORDED_ON)
    assert [difference.linux for difference in result.differences[:1]] == [-16]


# ---- answers of Linux that cannot be right are found


@pytest.mark.parametrize(
    "lines",
    [
        (NEW, "fcntl(3, F_GET_SEALS) = 0x1 (seals F_SEAL_SEAL)"),
        (NEW, "ftruncate(3, 4096) = -1 EPERM (Operation not permitted)"),
        (*SIZED, 'newfstatat(3, "", {st_mode=S_IFREG|0777, st_size=4096, ...}, AT_EMPTY_PATH) = 0'),
        (*SIZED, "fstat(3, {st_mode=S_IFREG|0666, st_size=8192, ...}) = 0"),
        (NEW, 'write(3, "abc", 3) = 2'),
        (NEW, 'write(3, "abc", 3) = 3', 'pread64(3, "abd", 3, 0) = 3'),
        (NEW, 'write(3, "abc", 3) = 3', 'pread64(3, "abc", 9, 0) = 9'),
        (NEW, 'write(3, "abc", 3) = 3', "lseek(3, 0, SEEK_CUR) = 4"),
        (*MAPPED, f"{SEAL} = 0"),
        (*SIZED, f"{SEAL} = {BUSY}"),
        (*SIZED, f"{SEAL} = 0", "mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_SHARED, 3, 0) = 0x7f0000"),
        (*MAPPED, "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = 0x7f1000"),
        (*MAPPED, "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f1000"),
        (NEW, 'openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 3'),
        (NEW, "dup(3) = 3"),
        (NEW, 'memfd_create("b", 0x80000000) = 5'),
        (*MAPPED, "mprotect(0x7f0000, 8192, PROT_READ) = -1 EACCES (Permission denied)"),
        (*MAPPED, "munmap(0x7f0000, 8192) = 0", f"{SEAL} = {BUSY}"),
        (*MAPPED, "mremap(0x7f0000, 8192, 4096, MREMAP_MAYMOVE) = -1 EFAULT (Bad address)"),
        (NEW, 'openat(AT_FDCWD, "/proc/self/fd/3", O_RDONLY) = 4', "ftruncate(4, 0) = 0"),
    ],
)
def test_an_answer_that_is_not_linuxs(lines):
    result = replayed(*lines)
    assert lines_that_differ(result) == [len(lines)]
    text = report.text(result)
    assert f"line {len(lines)}: " in text
    assert report.status(result) == 1


# ---- processes and descriptors


def test_a_child_has_descriptors_and_mappings_of_its_own():
    result = replayed(
        *(f"7 {line}" for line in MAPPED),
        "7 fork() = 8",
        "7 munmap(0x7f0000, 8192) = 0",
        f"7 {SEAL} = {BUSY}",
        "8 close(3) = 0",
        "8 munmap(0x7f0000, 8192) = 0",
        f"7 {SEAL} = 0",
    )
    assert lines_that_differ(result) == []
    assert result.compared == 8


def test_a_thread_shares_them():
    flags = "CLONE_VM|CLONE_FILES|CLONE_THREAD"
    result = replayed(
        *(f"7 {line}" for line in MAPPED),
        f"7 clone3({{flags={flags}, exit_signal=0, stack=0x7f}} => {{parent_tid=[8]}}, 88) = 8",
        "8 munmap(0x7f0000, 8192) = 0",
        f"7 {SEAL} = 0",
        "8 close(3) = 0",
        "7 fcntl(3, F_GET_SEALS) = -1 EBADF (Bad file descriptor)",
    )
    assert lines_that_differ(result) == []
    assert result.compared == 7


def test_vfork_shares_memory_until_execve():
    result = replayed(
        *(f"7 {line}" for line in MAPPED),
        "7 vfork( <unfinished ...>",
        '8 execve("/bin/true", ["true"], 0x7f) = 0',
        "7 <... vfork resumed>) = 8",
        "7 munmap(0x7f0000, 8192) = 0",
        f"8 {SEAL} = 0",
    )
    assert lines_that_differ(result) == []


def test_execve_closes_what_is_marked_and_unmaps():
    result = replayed(
        'memfd_create("a", MFD_CLOEXEC|MFD_ALLOW_SEALING) = 3',
        "ftruncate(3, 4096) = 0",
        "fcntl(3, F_DUPFD, 10) = 10",
        "fcntl(3, F_DUPFD_CLOEXEC, 11) = 11",
        "mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 3, 0) = 0x7f0000",
        'execve("/bin/true", ["true"], 0x7f) = 0',
        'openat(AT_FDCWD, "/etc/ld.so.cache", O_RDONLY|O_CLOEXEC) = 3',
        "fcntl(10, F_ADD_SEALS, F_SEAL_WRITE) = 0",
        "fcntl(11, F_GET_SEALS) = -1 EBADF (Bad file descriptor)",
        "fcntl(3, F_GET_SEALS) = -1 EINVAL (Invalid argument)",
    )
    assert lines_that_differ(result) == []
    assert result.compared == 7


@pytest.mark.parametrize("call", ["dup2(3, 9) = 9", "dup3(3, 9, O_CLOEXEC) = 9"])
def test_a_duplicate_takes_the_place_of_what_was_there(call):
    result = replayed(NEW, 'memfd_create("b", 0) = 9', call, "ftruncate(9, 5) = 0", "fcntl(9, F_GET_SEALS) = 0")
    assert lines_that_differ(result) == []
    assert result.compared == 5


def test_close_range_and_unshare():
    result = replayed(
        f"7 {NEW}",
        "7 clone(child_stack=0x1, flags=CLONE_VM|CLONE_FILES|SIGCHLD) = 8",
        "8 close_range(3, 4294967295, CLOSE_RANGE_UNSHARE) = 0",
        "8 fcntl(3, F_GET_SEALS) = -1 EBADF (Bad file descriptor)",
        "7 fcntl(3, F_GET_SEALS) = 0",
        "7 close_range(0, ~0U, 0) = 0",
        "7 fcntl(3, F_GET_SEALS) = -1 EBADF (Bad file descriptor)",
    )
    assert lines_that_differ(result) == []
    assert result.compared == 4


def test_a_descriptor_of_another_process():
    result = replayed(
        f"7 {NEW}",
        "7 fork() = 8",
        '8 openat(AT_FDCWD, "/proc/7/fd/3", O_RDWR) = 5',
        "8 ftruncate(5, 4096) = 0",
        "7 fstat(3, {st_size=4096, ...}) = 0",
    )
    assert lines_that_differ(result) == []
    assert result.compared == 4


def test_vm_memfd_noexec_is_followed():
    result = replayed(
        'openat(AT_FDCWD, "/proc/sys/vm/memfd_noexec", O_WRONLY) = 3',
        'write(3, "1\\n", 2) = 2',
        'memfd_create("a", 0) = 4',
        "fchmod(4, 0777) = -1 EPERM (Operation not permitted)",
        'write(3, "2\\n", 2) = 2',
        'memfd_create("a", MFD_EXEC) = -1 EACCES (Permission denied)',
    )
    assert lines_that_differ(result) == []
    assert result.compared == 3


# ---- bad logs, and what is printed


def test_vectors_are_one_read_or_write():
    parts = '[{iov_base="abc", iov_len=3}, {iov_base="de", iov_len=2}]'
    result = replayed(
        NEW,
        f"writev(3, {parts}, 2) = 5",
        f"pwritev2(3, {parts}, 2, -1, 0) = 5",
        f"preadv(3, {parts.replace('=2', '=9')}, 2, 0) = 10",
        "lseek(3, 0, SEEK_CUR) = 10",
    )
    assert lines_that_differ(replayed(NEW, f"writev(3, {parts}, 2) = 3")) == [2]
    assert lines_that_differ(result) == []
    hidden = (NEW, "writev(3, 0x7f00, 2) = 5", "lseek(3, 0, SEEK_SET) = 0", "readv(3, 0x7f00, 2) = {}")
    assert lines_that_differ(replayed(*hidden[:3], hidden[3].format(5), "lseek(3, 0, SEEK_CUR) = 5")) == []
    assert lines_that_differ(replayed(*hidden[:3], hidden[3].format(6))) == [4]


def test_a_log_of_something_else(tmp_path):
    path = tmp_path / "log"
    path.write_text("close(3) = 0\n")
    with pytest.raises(UserError, match="none of its 1 system calls is about a memfd"):
        conform_log(path, wait_for_pins, RECORDED_ON)


def test_arguments_that_cannot_be_read_are_told_of():
    log = parsed(
        [NEW, "ftruncate(3, MANY) = 0", "fcntl(3) = 0", "mmap(NULL, 4096, PROT_SOME, MAP_SHARED, 3, 0) = 0x7f"]
    )
    result = replay(log, wait_for_pins, RECORDED_ON)
    assert [line.number for line in result.unreadable] == [2, 3, 4]
    assert report.status(result) == 3
    assert "3 lines cannot be read" in report.text(result).splitlines()[-1]


def test_the_report_says_what_was_left_out():
    result = replayed(*MAPPED, "getpid() = 7", "getpid() = 7", "brk(NULL) = 0x55")
    text = report.text(result)
    assert "Outside the model: getpid 2, brk 1" in text
    assert text.splitlines()[-1] == "3 of 3 answers agreed, of 6 calls in 6 lines"
    assert report.as_data(result)["agreed"] == 3


@pytest.mark.kernel
@pytest.mark.parametrize(
    "options",
    [("-f",), ("-f", "-yy", "-v", "-s", "4096", "-tt"), ("-f", "-X", "raw", "-T"), ("-f", "-X", "verbose", "-n", "-r")],
    ids=" ".join,
)
def test_the_sample_on_this_kernel(tmp_path, options):
    if not (shutil.which("strace") and shutil.which("cc")):
        pytest.skip("needs strace and a C compiler")
    program = tmp_path / "frames"
    subprocess.run(["cc", "-w", "-o", program, SAMPLES / "frames.c"], check=True)
    traced = subprocess.run(["strace", *options, "-E", "PATH=/bin", "-o", tmp_path / "log", program], check=False)
    if traced.returncode:
        pytest.skip("strace may not trace here")
    result = conform_log(tmp_path / "log", wait_for_pins)
    assert lines_that_differ(result) == []
    assert not result.unreadable
    assert result.compared > 200


def test_calls_that_change_mappings_have_handlers():
    assert set(memory.CHANGES) <= set(memory.HANDLERS)
