"""What strace does not show: who may hold pages, and what calls outside the model may do to files that it has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from mmsim.conformance.recorded.log import Began, Call
from mmsim.conformance.recorded.machine import Machine
from mmsim.conformance.recorded.syntax import NUMBER, Unreadable, descriptor, elements, fields, number, string

READS: Final = frozenset({"read", "pread64", "readv", "preadv", "preadv2"})
WRITES: Final = frozenset({"write", "pwrite64", "writev", "pwritev", "pwritev2"})
LASTING: Final = frozenset({"io_submit", "io_uring_enter", "io_uring_register", "vmsplice"})
NO_FILE: Final = re.compile(r"<(?:pipe|socket|anon_inode|TCP|UDP|UNIX|NETLINK|/dev/(?:null|pts|tty))")
"""What certainly does no direct I/O, where -y says what a descriptor refers to."""
MEMORY: Final = ("iov_base", "aio_buf")
LENGTHS: Final = ("iov_len", "aio_nbytes")
UDMABUF: Final = re.compile(r"UDMABUF_CREATE|0x40(?:18|08)754[23]|0x75, 0x4[23]")
USERFAULTFD: Final = re.compile(r"UFFDIO_|0x[0-9a-f]{4}aa[0-9a-f]{2}\b|0xaa, ")
SETFLAGS: Final = re.compile(r"FS_IOC_(?:SETFLAGS|FSSETXATTR)|FICLONE|0x40086602")
FD_LINK: Final = re.compile(rb"(?:/proc/(?P<pid>self|thread-self|\d+)(?:/task/\d+)?/fd|/dev/fd)/(?P<fd>\d+)$")
"""The path of an open descriptor."""
BY_PATH: Final = frozenset({"truncate", "creat", "openat2", "chmod", "fchmodat", "fchmodat2"})
NOEXEC: Final = b"/proc/sys/vm/memfd_noexec"
MAKES_DESCRIPTORS: Final = frozenset(
    {
        "open", "openat", "openat2", "creat", "socket", "accept", "accept4", "epoll_create", "epoll_create1", "eventfd",
        "eventfd2", "timerfd_create", "signalfd", "signalfd4", "inotify_init", "inotify_init1", "userfaultfd",
        "pidfd_open", "pidfd_getfd", "io_uring_setup", "memfd_secret", "perf_event_open", "fanotify_init", "mq_open",
        "open_by_handle_at", "fsopen", "fsmount", "open_tree", "bpf", "dup", "fcntl",
    }
)  # fmt: skip
PAIRS: Final = frozenset({"pipe", "pipe2", "socketpair"})


def may_pin(machine: Machine, began: Began) -> None:
    """A read or write of a file outside the model has begun: direct I/O would pin the buffer's pages until it ends."""
    if began.name not in READS | WRITES or not began.arguments:
        return
    if NO_FILE.search(began.arguments[0]) or machine.file(began.pid, descriptor(began.arguments[0])) is not None:
        return
    regions = tuple(_regions(began.name, began.arguments)) or None
    machine.hold_memory(began.pid, began.line, began.name, regions, write=began.name in READS, lasting=False)


def _regions(name: str, arguments: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """Where the buffers are and how long, as far as the log shows it."""
    if len(arguments) > len(("fd", "buffer")) and NUMBER.fullmatch(arguments[1]) and NUMBER.fullmatch(arguments[2]):
        if not name.endswith(("v", "v2")):
            yield number(arguments[1]), number(arguments[2])
        return
    for argument in arguments:
        for element in elements(argument):
            members = fields(element)
            base = next((members[key] for key in MEMORY if key in members), "")
            length = next((members[key] for key in LENGTHS if key in members), "")
            if NUMBER.fullmatch(base) and NUMBER.fullmatch(length):
                yield number(base), number(length)


def after(machine: Machine, call: Call) -> None:
    """What a call that is no question to the model may have done to what the model has."""
    if call.value is None or call.value < 0:
        return
    if call.name in LASTING:
        _queued(machine, call)
        regions = tuple(_regions(call.name, call.arguments)) or None
        machine.hold_memory(call.pid, call.line, call.name, regions, write=call.name != "vmsplice", lasting=True)
    elif call.name in {"open", "openat"}:
        path = string(call.arguments[call.name == "openat"])
        if path is not None and path.data == NOEXEC:
            table = machine.table(call.pid)
            machine.state.sysctls[table] = machine.state.sysctls.get(table, frozenset()) | {call.value}
    elif call.name in READS | WRITES:
        _sysctl(machine, call)
    elif call.name == "ioctl":
        _ioctl(machine, call)
    elif call.name in {"sendmsg", "sendmmsg"}:
        _passed(machine, call)
    elif call.name == "copy_file_range":
        file = machine.file(call.pid, descriptor(call.arguments[2]))
        if file is not None and call.value:
            machine.lose(file.inode, f"copy_file_range() in line {call.line}")
    elif call.name in BY_PATH:
        _by_path(machine, call)


def _sysctl(machine: Machine, call: Call) -> None:
    """A read or a write of vm.memfd_noexec, as root finds or sets it for the pid namespace that it is in."""
    if descriptor(call.arguments[0]) not in machine.state.sysctls.get(machine.table(call.pid), frozenset()):
        return
    text = string(call.arguments[1])
    if text is not None and text.data.strip().isdigit():
        machine.state.noexec[machine.state.namespaces[call.pid][-1]] = int(text.data)


def _queued(machine: Machine, call: Call) -> None:
    """Requests that may write to a file: aio names it, an io_uring does not, for its queue is in memory."""
    files = machine.files_of(call.pid) if call.name == "io_uring_enter" else ()
    for match in re.finditer(r"aio_fildes=(-?\w+)", ", ".join(call.arguments)):
        file = machine.file(call.pid, descriptor(match[1]))
        files += (file.inode,) if file is not None else ()
    for inode in files:
        machine.lose(inode, f"{call.name}() of line {call.line} may write to it")


def _by_path(machine: Machine, call: Call) -> None:
    """A change by way of /proc/PID/fd/N."""
    for argument in call.arguments[:2]:
        path = string(argument)
        link = FD_LINK.match(path.data) if path is not None else None
        if link is None:
            continue
        pid = call.pid if link["pid"] in {None, b"self", b"thread-self"} else int(link["pid"])
        file = machine.file(pid, int(link["fd"])) if pid in machine.state.tasks else None
        if file is not None:
            machine.lose(file.inode, f"{call.name}() by its path in line {call.line}")


def _ioctl(machine: Machine, call: Call) -> None:
    text = ", ".join(call.arguments)
    if UDMABUF.search(text):
        for fd in machine.value(machine.state.tasks[call.pid].open_fds):
            file = machine.file(call.pid, fd)
            if file is not None:
                machine.lose(file.inode, f"/dev/udmabuf may have its pages since line {call.line}")
    elif USERFAULTFD.search(text):
        for vma in machine.vmas(call.pid):
            machine.stored_to(vma.file.inode)
    elif SETFLAGS.search(text):
        file = machine.file(call.pid, descriptor(call.arguments[0]))
        if file is not None:
            machine.lose(file.inode, f"its flags were changed in line {call.line}")


def _passed(machine: Machine, call: Call) -> None:
    """A file passed through a socket is used by somebody under a number that the log does not tell of here."""
    for match in re.finditer(r"SCM_RIGHTS, cmsg_data=\[([^]]*)\]", ", ".join(call.arguments)):
        for number_ in match[1].split(","):
            try:
                file = machine.file(call.pid, descriptor(number_.strip()))
            except Unreadable:
                continue
            if file is not None:
                machine.lose(file.inode, f"it was passed through a socket in line {call.line}")


def new_descriptors(call: Call) -> tuple[int, ...]:
    """The descriptors that a call outside the model gave out."""
    if call.value is None or call.value < 0:
        return ()
    if call.name in PAIRS:
        ends = call.arguments[0 if call.name != "socketpair" else 3 :][:1]
        return tuple(descriptor(end) for argument in ends for end in elements(argument))
    if call.name == "fcntl" and not re.match(r"F_DUPFD|0x406$|0x0?$|0$|1030$", call.arguments[1]):
        return ()
    return (call.value,) if call.name in MAKES_DESCRIPTORS else ()
