"""Calls that read, write and size files."""

from __future__ import annotations

import errno
from typing import Any, Final

from mmsim.conformance.recorded.asking import Ask, NotModelled, Rule, answered, followed, modelled
from mmsim.conformance.recorded.log import Call
from mmsim.conformance.recorded.machine import LARGEST, SEEK_CUR, SEEK_END, SEEK_SET, Machine
from mmsim.conformance.recorded.syntax import Text, descriptor, elements, fields, number, signed, string
from mmsim.kernel.types import File
from mmsim.syscalls import PAGE_SIZE

PERMISSIONS: Final = 0o7777
POSITIONED: Final = ("pread64", "pwrite64", "preadv", "pwritev")
HUGE_PAGE: Final = 2 << 20


def sized(machine: Machine, call: Call, file: File | None, end: int) -> None:
    """Refuse what makes a file larger than is followed, or asks hugetlbfs for less than its pages."""
    if file is None:
        return
    if end > LARGEST:
        if call.value is not None and call.value >= 0:
            machine.lose(file.inode, f"it became larger than {LARGEST >> 20} MiB in line {call.line}")
        raise NotModelled("a file larger than is followed")
    if file.inode.sb.kind == "hugetlbfs" and end % HUGE_PAGE and call.value == -errno.EINVAL:
        raise NotModelled("part of a huge page")


def counted_in_bytes(length: int) -> None:
    """Refuse what access_ok() and rw_verify_area() refuse before any file system is asked."""
    if not 0 <= length < 1 << 63:
        raise NotModelled("a length that is no number of bytes")


def ftruncate(machine: Machine, call: Call) -> Ask:
    """A new size."""
    fd, length = descriptor(call.arguments[0]), signed(call.arguments[1])
    sized(machine, call, modelled(machine, call, fd), length)
    return Ask(call, lambda: machine.run(machine.calls(call.pid).ftruncate(fd, length)), answered(call))


def fallocate(machine: Machine, call: Call) -> Ask:
    """Pages, or a hole.  A mode that the model does not have is followed only if Linux refused it."""
    fd, mode = descriptor(call.arguments[0]), number(call.arguments[1])
    offset, length = signed(call.arguments[2]), signed(call.arguments[3])
    sized(machine, call, modelled(machine, call, fd), offset + length)
    return Ask(call, lambda: machine.run(machine.calls(call.pid).fallocate(fd, mode, offset, length)), answered(call))


def fchmod(machine: Machine, call: Call) -> Ask:
    """Permissions."""
    fd, mode = descriptor(call.arguments[0]), number(call.arguments[1])
    modelled(machine, call, fd)
    return Ask(call, lambda: machine.run(machine.calls(call.pid).fchmod(fd, mode)), answered(call))


def lseek(machine: Machine, call: Call) -> Ask:
    """A position; where data or a hole begins is taken from the log, because strace does not see who touched pages."""
    fd, offset, whence = descriptor(call.arguments[0]), signed(call.arguments[1]), number(call.arguments[2])
    modelled(machine, call, fd)
    value = answered(call)
    if whence in {SEEK_SET, SEEK_CUR, SEEK_END}:
        return Ask(call, lambda: machine.run(machine.calls(call.pid).lseek(fd, offset, whence)), value)
    if value < 0:
        raise NotModelled("where data or a hole begins")
    return followed(call, lambda: machine.run(machine.calls(call.pid).lseek(fd, value, SEEK_SET)))


def fstat(machine: Machine, call: Call) -> Ask:
    """The size and the permissions, as far as the log shows them."""
    fd = descriptor(call.arguments[0])
    at = 1
    if call.name != "fstat":
        path = string(call.arguments[1])
        if path is None or path.data:
            raise NotModelled
        at = 2
    modelled(machine, call, fd)
    members, value = fields(call.arguments[at]), answered(call)
    size = signed(members["st_size"]) if "st_size" in members else None
    mode = number(members["st_mode"]) & PERMISSIONS if "st_mode" in members else None
    if not value and size is None and mode is None:
        raise NotModelled("the log does not show what it answered")

    def perform() -> Any:
        answer = machine.run(machine.calls(call.pid).fstat(fd))
        if isinstance(answer, int):
            return answer
        return (answer[0] if size is not None else None, answer[1] if mode is not None else None)

    return Ask(call, perform, value or (size, mode))


# ---- reading


def read(machine: Machine, call: Call) -> Ask:
    """read() and pread64(): how much, and what as far as the log shows it and the model knows it."""
    shown = string(call.arguments[1])
    return _reading(machine, call, number(call.arguments[2]), shown.data if shown else b"", _offset(call, 3))


def readv(machine: Machine, call: Call) -> Ask:
    """readv() and preadv(), which are one read in a loop."""
    plain(machine, call)
    parts = vector(call)
    if parts is None:
        if answered(call) < 0:
            raise NotModelled("the log does not show its vector")
        return _reading(machine, call, answered(call), b"", _offset(call, 3), (Rule.LENGTH,))
    first = string(parts[0].get("iov_base", ""))
    length = sum(number(part["iov_len"]) for part in parts)
    return _reading(machine, call, length, first.data if first else b"", _offset(call, 3))


def vector(call: Call) -> list[dict[str, str]] | None:
    """The buffers of a vector; None where the log does not show them, as with -e raw."""
    parts = [fields(element) for element in elements(call.arguments[1])]
    return parts if parts and all("iov_len" in part for part in parts) else None


def _offset(call: Call, at: int) -> int | None:
    """Where it reads or writes; None for the file's position, which preadv2() and pwritev2() call -1."""
    if call.name.endswith("v2"):
        offset = signed(call.arguments[at])
        return None if offset == -1 else offset
    return signed(call.arguments[at]) if call.name in POSITIONED else None


def plain(machine: Machine, call: Call) -> None:
    """Refuse preadv2() and pwritev2() with flags (RWF_APPEND and its kin)."""
    if not call.name.endswith("v2") or not number(call.arguments[4]):
        return
    file = modelled(machine, call, descriptor(call.arguments[0]))
    if file is not None and call.value is not None and call.value > 0:
        machine.lose(file.inode, f"{call.name}() with flags in line {call.line}")
    raise NotModelled("flags that the model does not have")


def _reading(
    machine: Machine, call: Call, length: int, shown: bytes, offset: int | None, rules: tuple[Rule, ...] = ()
) -> Ask:
    fd, value = descriptor(call.arguments[0]), answered(call)
    file = modelled(machine, call, fd)
    if value == -errno.EFAULT:
        raise NotModelled(rule=Rule.POINTER)
    counted_in_bytes(length)
    unknown = file is not None and file.inode in machine.state.unknown
    shown = shown[: max(value, 0)]

    def perform() -> Any:
        calls = machine.calls(call.pid)
        answer = machine.run(calls.read(fd, length) if offset is None else calls.pread(fd, length, offset))
        if isinstance(answer, int):
            return answer
        return len(answer), shown if unknown else answer[: len(shown)]

    counted = (Rule.BYTES,) if unknown and shown else ()
    return Ask(call, perform, (value, shown) if value >= 0 else value, (*counted, *rules))


# ---- writing


def write(machine: Machine, call: Call) -> Ask:
    """write() and pwrite64(): how much."""
    return writing(machine, call, (string(call.arguments[1]),), number(call.arguments[2]), _offset(call, 3))


def writev(machine: Machine, call: Call) -> Ask:
    """writev() and pwritev(), which are one write in a loop."""
    plain(machine, call)
    parts = vector(call)
    if parts is None:
        if answered(call) < 0:
            raise NotModelled("the log does not show its vector")
        return writing(machine, call, (None,), answered(call), _offset(call, 3))
    texts = tuple(string(part.get("iov_base", "")) for part in parts)
    return writing(machine, call, texts, sum(number(part["iov_len"]) for part in parts), _offset(call, 3))


def writing(machine: Machine, call: Call, texts: tuple[Text | None, ...], length: int, offset: int | None) -> Ask:
    """A write of these bytes, or where the log does not show all of them of as many zeros."""
    fd, value = descriptor(call.arguments[0]), answered(call)
    file = modelled(machine, call, fd)
    if value == -errno.EFAULT:
        raise NotModelled(rule=Rule.POINTER)
    counted_in_bytes(length)
    sized(machine, call, file, 0 if file is None else written_up_to(machine, file, length, offset))
    data = b"".join(text.data for text in texts if text is not None)
    known = len(data) == length and not any(text is None or text.cut for text in texts)

    def perform() -> int:
        calls = machine.calls(call.pid)
        sent = data if known else zeros(file, length)
        answer: int = machine.run(calls.write(fd, sent) if offset is None else calls.pwrite(fd, sent, offset))
        if not known and file is not None and answer > 0:
            machine.stored_to(file.inode)
        return answer

    return Ask(call, perform, value, () if known or value < 0 else (Rule.DATA,))


def zeros(file: File | None, length: int) -> bytes:
    """In place of data that the log does not show; nothing where there is no file to write it to."""
    return b"" if file is None else bytes(length)


def written_up_to(machine: Machine, file: File, length: int, offset: int | None) -> int:
    """Where a write ends, in whole pages."""
    position = machine.value(file.f_pos) if offset is None else offset
    return -(-(max(position, 0) + length) // PAGE_SIZE) * PAGE_SIZE


# ---- between files


def sendfile(machine: Machine, call: Call) -> Ask:
    """sendfile(out, in, offset, count)."""
    out, source = descriptor(call.arguments[0]), descriptor(call.arguments[1])
    return _moved(machine, call, source, call.arguments[2], out, "NULL", number(call.arguments[3]))


def splice(machine: Machine, call: Call) -> Ask:
    """splice(in, offset, out, offset, length, flags)."""
    source, from_, out, to, length = call.arguments[:5]
    return _moved(machine, call, descriptor(source), from_, descriptor(out), to, number(length))


def _moved(machine: Machine, call: Call, source: int, from_: str, out: int, to: str, length: int) -> Ask:
    reader, writer = machine.file(call.pid, source), machine.file(call.pid, out)
    value = answered(call)
    if writer is not None and reader is None:
        return _moved_in(machine, call, out, to, length)
    if reader is None:
        raise NotModelled
    if writer is not None:
        machine.lose(writer.inode, f"{call.name}() from one file to another in line {call.line}")
    if value <= 0:
        raise NotModelled("nothing was moved")
    offset = _told(from_)
    inode = reader.inode
    if inode in machine.state.lost:
        raise NotModelled(machine.state.lost[inode])

    def perform() -> int:
        first: int = machine.value(reader.f_pos) if offset is None else offset
        size: int = machine.value(inode.i_size)
        count = min(value, max(size - first, 0))
        if count:
            last = -(-(first + count) // PAGE_SIZE)
            machine.hold_file(call.line, call.name, reader, first // PAGE_SIZE, last)
        if offset is None:
            machine.run(machine.calls(call.pid).lseek(source, count, SEEK_CUR))
        return count

    return Ask(call, perform, value, (Rule.LENGTH,))


def _moved_in(machine: Machine, call: Call, out: int, to: str, length: int) -> Ask:
    """Into a file of the model: a write of what Linux moved, or where it refused, of what it was to move."""
    value = answered(call)
    file = modelled(machine, call, out)
    if value == 0 or (value < 0 and value not in (-errno.EPERM, -errno.EBADF)):
        raise NotModelled("nothing was moved")
    moved, offset = value if value > 0 else length, _told(to)
    counted_in_bytes(moved)
    sized(machine, call, file, 0 if file is None else written_up_to(machine, file, moved, offset))

    def perform() -> int:
        calls = machine.calls(call.pid)
        answer: int = machine.run(
            calls.write(out, zeros(file, moved)) if offset is None else calls.pwrite(out, zeros(file, moved), offset)
        )
        if file is not None and answer > 0:
            machine.stored_to(file.inode)
        return answer

    return Ask(call, perform, value, (Rule.LENGTH,))


def _told(argument: str) -> int | None:
    """The offset at which it began: `NULL`, `[4096]`, `[4096] => [8192]`."""
    before = argument.partition(" => ")[0].strip()
    if before in {"NULL", "0"}:
        return None
    told = elements(before)
    if not told:
        raise NotModelled("the log does not show the offset")
    return signed(told[0])


HANDLERS: Final = {
    "ftruncate": ftruncate,
    "fallocate": fallocate,
    "fchmod": fchmod,
    "lseek": lseek,
    "fstat": fstat,
    "newfstatat": fstat,
    "fstatat64": fstat,
    "read": read,
    "pread64": read,
    "readv": readv,
    "preadv": readv,
    "preadv2": readv,
    "write": write,
    "pwrite64": write,
    "writev": writev,
    "pwritev": writev,
    "pwritev2": writev,
    "sendfile": sendfile,
    "splice": splice,
}
