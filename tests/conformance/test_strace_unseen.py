"""Logs of strace replayed in the model: what strace cannot see, and each rule by which something is taken from the log."""

from __future__ import annotations

import pytest

from mmsim.conformance.recorded.asking import Rule
from mmsim.conformance.recorded.machine import LARGEST
from tests.conformance.strace import (
    BUSY,
    EPERM,
    MAPPED,
    NEW,
    SEAL,
    SIZED,
    lines_that_differ,
    replayed,
    rules,
)


def test_held_pages_may_be_held_or_not():
    begun = (*(f"7 {line}" for line in MAPPED), "7 clone(child_stack=0x1, flags=CLONE_VM|CLONE_FILES|SIGCHLD) = 8")
    read_ = "7 read(0x5, 0x7f0000, 0x1000 <unfinished ...>"
    unmapped = "8 munmap(0x7f0000, 8192) = 0"
    for answer in ("0", BUSY):
        result = replayed(*begun, read_, unmapped, f"8 {SEAL} = {answer}")
        assert lines_that_differ(result) == []
        assert rules(result)[Rule.HELD] == 1
    over = replayed(*begun, read_, unmapped, "7 <... read resumed>) = 0x1000", f"8 {SEAL} = {BUSY}")
    assert lines_that_differ(over) == [8]
    elsewhere = replayed(*begun, read_.replace("0x7f0000", "0x990000"), unmapped, f"8 {SEAL} = {BUSY}")
    assert lines_that_differ(elsewhere) == [7]


@pytest.mark.parametrize(
    "holder",
    [
        'vmsplice(9, [{iov_base="abc", iov_len=4096}], 1, 0) = 4096',
        "io_submit(0x7f00, 1, [{aio_data=0, aio_fildes=5, aio_buf=0x7f0000, aio_nbytes=4096}]) = 1",
        "io_uring_register(9, IORING_REGISTER_BUFFERS, [{iov_base=0x7f1000, iov_len=4096}], 1) = 0",
    ],
)
def test_who_holds_pages_without_an_end(holder):
    for answer in ("0", BUSY):
        result = replayed(*MAPPED, holder, "munmap(0x7f0000, 8192) = 0", f"{SEAL} = {answer}")
        assert lines_that_differ(result) == []
        assert rules(result)[Rule.HELD] == 1


def test_a_splice_out_of_the_file_holds_its_pages():
    written = (NEW, 'write(3, "abcdef", 6) = 6', "splice(3, [0] => [6], 9, NULL, 4096, 0) = 6")
    assert rules(replayed(*written, f"{SEAL} = {BUSY}"))[Rule.HELD] == 1
    assert lines_that_differ(replayed(NEW, 'write(3, "ab", 2) = 2', "splice(3, [0], 9, NULL, 4096, 0) = 6")) == [3]


def test_a_splice_into_the_file_is_a_write():
    assert lines_that_differ(replayed(*SIZED, f"{SEAL} = 0", f"splice(9, NULL, 3, NULL, 100, 0) = {EPERM}")) == []
    assert lines_that_differ(replayed(*SIZED, f"{SEAL} = 0", "splice(9, NULL, 3, NULL, 100, 0) = 100")) == [4]
    grown = replayed(NEW, "sendfile(3, 9, NULL, 100) = 70", "fstat(3, {st_size=70, ...}) = 0")
    assert lines_that_differ(grown) == []
    assert rules(grown)[Rule.LENGTH] == 1


def test_bytes_are_not_compared_once_somebody_may_have_stored():
    result = replayed(*MAPPED, 'pread64(3, "stored", 6, 0) = 6')
    assert lines_that_differ(result) == []
    assert rules(result)[Rule.BYTES] == 1
    private = (*SIZED, "mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE, 3, 0) = 0x7f0000")
    assert lines_that_differ(replayed(*private, 'pread64(3, "stored", 6, 0) = 6')) == [4]
    later = (*SIZED, "mmap(NULL, 8192, PROT_READ, MAP_SHARED, 3, 0) = 0x7f0000")
    assert lines_that_differ(replayed(*later, 'pread64(3, "stored", 6, 0) = 6')) == [4]
    opened = (*later, "mprotect(0x7f0000, 4096, PROT_READ|PROT_WRITE) = 0")
    assert lines_that_differ(replayed(*opened, 'pread64(3, "stored", 6, 0) = 6')) == []


def test_data_that_the_log_does_not_show():
    result = replayed(NEW, 'write(3, "abc"..., 5000) = 5000', 'pread64(3, "abcx", 4, 0) = 4', "write(3, 0x7f, 9) = 9")
    assert lines_that_differ(result) == []
    assert rules(result)[Rule.DATA] == 2
    assert lines_that_differ(replayed(NEW, 'write(3, "abc"..., 5000) = 4999')) == [2]


def test_a_call_that_others_overlapped_may_have_come_earlier():
    lines = (
        *(f"7 {line}" for line in SIZED),
        "7 clone(child_stack=0x1, flags=CLONE_VM|CLONE_FILES|SIGCHLD) = 8",
        f"7 {SEAL.removesuffix(')')} <unfinished ...>",
        "8 mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_SHARED, 3, 0) = {}",
        "7 <... fcntl resumed>) = {}",
    )

    def result(mapped, sealed):
        return replayed(*(line.format(mapped if line.startswith("8") else sealed) for line in lines))

    first = result(EPERM, "0")  # the seal came first, and the mapping was refused
    assert lines_that_differ(first) == []
    assert rules(first)[Rule.ORDER] == 1
    assert lines_that_differ(result("0x7f0000", BUSY)) == []
    assert lines_that_differ(result("0x7f0000", "0")) == [6]
    assert lines_that_differ(result(EPERM, BUSY)) != []


def test_a_call_under_way_may_have_taken_effect():
    lines = [
        *(f"7 {line}" for line in MAPPED),
        "7 clone(child_stack=0x1, flags=CLONE_VM|CLONE_FILES|SIGCHLD) = 8",
        "8 munmap(0x7f0000, 8192 <unfinished ...>",
        f"7 {SEAL} = 0",
        "8 <... munmap resumed>) = 0",
        "7 fcntl(3, F_GET_SEALS) = 0x8",
    ]
    result = replayed(*lines)
    assert lines_that_differ(result) == []
    assert rules(result)[Rule.ORDER] == 1
    lines[4], lines[5] = lines[5], lines[4]  # the seal came before munmap() began
    assert lines_that_differ(replayed(*lines))[0] == 5


def test_a_process_that_ends_may_have_gone_already():
    lines = (
        *(f"7 {line}" for line in MAPPED),
        "7 fork() = 8",
        "7 munmap(0x7f0000, 8192) = 0",
        "8 exit_group(0) = ?",
        f"7 {SEAL} = 0",
        "8 +++ exited with 0 +++",
    )
    assert lines_that_differ(replayed(*lines)) == []
    assert lines_that_differ(replayed(*lines[:-3], *lines[-2:])) == [6]


def test_a_fork_while_another_thread_maps():
    result = replayed(
        *(f"7 {line}" for line in SIZED),
        "7 clone(child_stack=0x1, flags=CLONE_VM|CLONE_FILES|CLONE_THREAD) = 8",
        "8 mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_SHARED, 3, 0 <unfinished ...>",
        "7 fork() = 9",
        "8 <... mmap resumed>) = 0x7f0000",
        "8 munmap(0x7f0000, 8192) = 0",
        f"7 {SEAL} = {BUSY}",
        "9 +++ exited with 0 +++",
    )
    assert lines_that_differ(result) == []
    assert any("while fork() of line 5" in reason for reason, _ in result.not_compared)


def test_a_child_that_the_log_does_not_hold():
    result = replayed(*MAPPED, "fork() = 9", "munmap(0x7f0000, 8192) = 0", f"{SEAL} = {BUSY}")
    assert lines_that_differ(result) == []
    assert result.not_compared == (("the child of fork() in line 4 is not in the log", 1),)


@pytest.mark.parametrize(
    ("lines", "rule"),
    [
        (("memfd_create(NULL, 0) = -1 EFAULT (Bad address)",), Rule.POINTER),
        ((f'memfd_create("{"a" * 32}"..., 0) = -1 EINVAL (Invalid argument)',), Rule.NAME),
        (('memfd_create("a", 0) = -1 EMFILE (Too many open files)',), Rule.RESOURCES),
        ((NEW, 'openat(AT_FDCWD, "/proc/self/fd/3", O_RDWR) = -1 EACCES (Permission denied)'), Rule.PERMISSION),
        ((*MAPPED, "mremap(0x7f0000, 8192, 12288, 0) = -1 ENOMEM (Cannot allocate memory)"), Rule.ROOM),
        ((NEW, "ftruncate(3, 5) = -1 EINTR (Interrupted system call)"), Rule.RESOURCES),
    ],
)
def test_what_is_taken_from_the_log_is_counted(lines, rule):
    result = replayed(*lines)
    assert lines_that_differ(result) == []
    assert rules(result)[rule] == 1


@pytest.mark.parametrize(
    "lost",
    [
        f"ftruncate(3, {LARGEST + 1}) = 0",
        "mmap(NULL, 4096, PROT_READ, MAP_SHARED_VALIDATE|MAP_SYNC, 3, 0) = 0x7f0000",
        "sendmsg(9, {msg_control=[{cmsg_len=20, cmsg_type=SCM_RIGHTS, cmsg_data=[3]}], msg_flags=0}, 0) = 1",
        "copy_file_range(9, NULL, 3, NULL, 100, 0) = 100",
        'truncate("/proc/self/fd/3", 100) = 0',
        'pwritev2(3, [{iov_base="abc", iov_len=3}], 1, 0, RWF_APPEND) = 3',
        "io_submit(0x7f00, 1, [{aio_data=0, aio_fildes=3, aio_buf=0x7f0000, aio_nbytes=4096}]) = 1",
        "io_uring_enter(9, 1, 0, 0, NULL, 8) = 1",
        "fcntl(3, F_SETFL, O_RDWR|O_APPEND) = 0",
        "ioctl(9, UDMABUF_CREATE, 0x7ffe) = 4",
        "ioctl(3, FS_IOC_SETFLAGS, [FS_IMMUTABLE_FL]) = 0",
    ],
)
def test_a_file_that_the_model_cannot_follow_is_not_asked_about(lost):
    result = replayed(NEW, lost, "fcntl(3, F_GET_SEALS) = 0x1f")
    assert lines_that_differ(result) == []
    ((reason, count),) = [one for one in result.not_compared if "line 2" in one[0]]
    assert count >= 1, reason


def test_mappings_of_the_models_go_when_others_take_their_place():
    over = "mmap(0x7f0000, 8192, PROT_NONE, MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS, -1, 0) = 0x7f0000"
    assert lines_that_differ(replayed(*MAPPED, over, f"{SEAL} = 0")) == []


def test_moving_a_mapping():
    moved = (*MAPPED, "mremap(0x7f0000, 8192, 16384, MREMAP_MAYMOVE) = 0x900000")
    assert lines_that_differ(replayed(*moved, "munmap(0x7f0000, 8192) = 0", f"{SEAL} = {BUSY}")) == []
    assert lines_that_differ(replayed(*moved, "munmap(0x900000, 16384) = 0", f"{SEAL} = 0")) == []
