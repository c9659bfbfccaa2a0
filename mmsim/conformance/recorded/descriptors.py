"""Calls that make, copy and close descriptors, and those about seals."""

from __future__ import annotations

import errno
from typing import Final

from mmsim.conformance.recorded.asking import Ask, NotModelled, Rule, answered, followed, installing, modelled
from mmsim.conformance.recorded.log import Call
from mmsim.conformance.recorded.machine import Machine
from mmsim.conformance.recorded.syntax import CONSTANTS, descriptor, number, string
from mmsim.conformance.recorded.unseen import FD_LINK
from mmsim.syscalls import F_SEAL_EXEC, F_SEAL_WRITE, MFD_CLOEXEC, MFD_EXEC, MFD_NOEXEC_SEAL, O_CREAT, O_TRUNC

F_DUPFD, F_SETFD, F_SETFL = 0, 2, 4
F_DUPFD_CLOEXEC, F_ADD_SEALS, F_GET_SEALS = 1030, 1033, 1034
O_APPEND, O_CLOEXEC, O_EXCL, O_NOFOLLOW, O_PATH = (
    CONSTANTS[name] for name in ("O_APPEND", "O_CLOEXEC", "O_EXCL", "O_NOFOLLOW", "O_PATH")
)
O_DIRECTORY: Final = CONSTANTS["O_DIRECTORY"]
ACCESS: Final = 3
UNSHARE, MARK = CONSTANTS["CLOSE_RANGE_UNSHARE"], CONSTANTS["CLOSE_RANGE_CLOEXEC"]
NAME_MAX: Final = 249
INT: Final = 0xFFFFFFFF


def memfd_create(machine: Machine, call: Call) -> Ask:
    """A name is only its length to the model, so each gets one that nobody else has."""
    value, flags = answered(call), number(call.arguments[1]) & INT
    name = string(call.arguments[0])
    if value in (-errno.EMFILE, -errno.ENFILE, -errno.ENOMEM):
        raise NotModelled(rule=Rule.RESOURCES)
    if value == -errno.EFAULT:
        raise NotModelled(rule=Rule.POINTER)
    cut = name is None or (name.cut and len(name.data) <= NAME_MAX)
    if cut and value == -errno.EINVAL:
        raise NotModelled(rule=Rule.NAME)
    length = len(name.data) if name else 0
    label = f"line{call.line}" if length <= NAME_MAX else "x" * length
    return installing(
        machine,
        call,
        lambda fd: _checked(machine, call, fd, label, flags),
        cloexec=bool(flags & MFD_CLOEXEC),
        rules=(Rule.NAME,) if cut else (),
    )


async def _checked(machine: Machine, call: Call, fd: int | None, name: str, flags: int) -> int:
    """memfd_create() after mm/memfd.c: check_sysctl_memfd_noexec(), which is about defaults and not in the model."""
    scope, calls = machine.memfd_noexec(call.pid), machine.calls(call.pid, fd)
    if not flags & (MFD_EXEC | MFD_NOEXEC_SEAL) and scope:
        flags |= MFD_NOEXEC_SEAL
    answer = await calls.memfd_create(name, flags)
    if answer >= 0 and scope > 1 and not flags & MFD_NOEXEC_SEAL:
        await calls.close(answer)
        return -errno.EACCES
    return answer


def close(machine: Machine, call: Call) -> Ask:
    """A descriptor that the model does not have is known to be closed from here on, too."""
    fd = descriptor(call.arguments[0])
    if machine.file(call.pid, fd) is None and call.value == 0:
        machine.closed(call.pid, fd)
        raise NotModelled
    if machine.file(call.pid, fd) is None:
        modelled(machine, call, fd)  # or it is of no interest

    def perform() -> int:
        answer: int = machine.run(machine.calls(call.pid).close(fd))
        machine.closed(call.pid, fd)
        return answer

    return Ask(call, perform, answered(call))


def close_range(machine: Machine, call: Call) -> Ask:
    """All that the model has in the range."""
    first, last = number(call.arguments[0]) & INT, number(call.arguments[1].replace("~0U", "4294967295")) & INT
    flags = number(call.arguments[2])
    if answered(call):
        raise NotModelled

    def effect() -> None:
        if flags & UNSHARE:
            machine.unshare_files(call.pid, call.line)
        for fd in machine.value(machine.state.tasks[call.pid].open_fds):
            if first <= fd <= last and flags & MARK:
                machine.opened(call.pid, fd, cloexec=True)
            elif first <= fd <= last:
                machine.run(machine.calls(call.pid).close(fd))
                machine.closed(call.pid, fd)

    return followed(call, effect)


def dup(machine: Machine, call: Call) -> Ask:
    """dup() and fcntl(F_DUPFD)."""
    fd = descriptor(call.arguments[0])
    modelled(machine, call, fd)
    cloexec = call.name == "fcntl" and number(call.arguments[1]) == F_DUPFD_CLOEXEC
    return installing(machine, call, lambda to: machine.calls(call.pid, to).dup(fd), cloexec=cloexec)


def dup2(machine: Machine, call: Call) -> Ask:
    """dup2() and dup3(): what had the number before is closed, also where the model does not have the new one."""
    fd, to, value = descriptor(call.arguments[0]), descriptor(call.arguments[1]), answered(call)
    cloexec = len(call.arguments) > len(("old", "new")) and bool(number(call.arguments[2]) & O_CLOEXEC)
    if machine.file(call.pid, fd) is None and value >= 0 and machine.file(call.pid, to) is not None and fd != to:

        def closes() -> None:
            machine.run(machine.calls(call.pid).close(to))
            machine.opened(call.pid, to, cloexec=cloexec)

        return followed(call, closes)
    if fd == to or (value < 0 and value != -errno.EBADF):
        raise NotModelled
    modelled(machine, call, fd)

    def perform() -> int:
        answer: int = machine.run(machine.calls(call.pid).dup_to(fd, to))
        if answer >= 0:
            machine.opened(call.pid, to, cloexec=cloexec)
        return answer

    return Ask(call, perform, value)


def fcntl(machine: Machine, call: Call) -> Ask:
    """Duplicates, marks and seals; any other command is none of the model's."""
    command, fd = number(call.arguments[1]), descriptor(call.arguments[0])
    if command in {F_DUPFD, F_DUPFD_CLOEXEC}:
        return dup(machine, call)
    file = modelled(machine, call, fd)
    if command == F_SETFD and file is not None:
        cloexec = bool(number(call.arguments[2]) & 1)
        return followed(call, lambda: machine.opened(call.pid, fd, cloexec=cloexec))
    if command == F_SETFL and file is not None and number(call.arguments[2]) & O_APPEND:
        machine.lose(file.inode, f"O_APPEND was set in line {call.line}")
    calls = machine.calls(call.pid)
    if command == F_GET_SEALS:
        return Ask(call, lambda: machine.run(calls.get_seals(fd)), answered(call))
    if command != F_ADD_SEALS:
        raise NotModelled
    seals = number(call.arguments[2]) & INT  # an int there: fcntl() hands on 64 bits, of which libc's caller set 32
    pins = bool(seals & (F_SEAL_WRITE | F_SEAL_EXEC))
    return Ask(call, lambda: machine.run(calls.add_seals(fd, seals)), answered(call), about_pins=pins)


def openat(machine: Machine, call: Call) -> Ask:
    """open() of a descriptor's link in /proc; any other path is none of the model's."""
    at = 0 if call.name in {"open", "creat"} else 1
    path = string(call.arguments[at])
    link = FD_LINK.match(path.data) if path and not path.cut else None
    if link is None or call.name == "creat":
        raise NotModelled
    own = link["pid"] in {None, b"self", b"thread-self"}
    target = call.pid if own else int(link["pid"])
    file = machine.file(target, int(link["fd"])) if target in machine.state.tasks else None
    if file is None:
        raise NotModelled
    if file.inode in machine.state.lost:
        raise NotModelled(machine.state.lost[file.inode])
    flags, value = number(call.arguments[at + 1]), answered(call)
    if value == -errno.EACCES:
        raise NotModelled(rule=Rule.PERMISSION)
    if value in (-errno.EMFILE, -errno.ENFILE, -errno.EINTR):
        raise NotModelled(rule=Rule.RESOURCES)
    if flags & O_APPEND and flags & ACCESS and value >= 0:
        machine.lose(file.inode, f"it was opened with O_APPEND in line {call.line}")
    if flags & (O_APPEND | O_PATH | O_NOFOLLOW | O_DIRECTORY | O_EXCL):
        raise NotModelled
    kept = flags & (ACCESS | O_CREAT | O_TRUNC)
    if kept & ACCESS == ACCESS:
        raise NotModelled
    return installing(
        machine,
        call,
        lambda fd: machine.calls(call.pid, fd).reopen_file(file, kept),
        cloexec=bool(flags & O_CLOEXEC),
    )


HANDLERS: Final = {
    "memfd_create": memfd_create,
    "close": close,
    "close_range": close_range,
    "dup": dup,
    "dup2": dup2,
    "dup3": dup2,
    "fcntl": fcntl,
    "open": openat,
    "openat": openat,
}
