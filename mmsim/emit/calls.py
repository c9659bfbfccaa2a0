"""System calls as a C programmer writes them, with the check of their answers.

Descriptors, addresses, I/Os and registered buffers are variables of the program, found again by their values in the
model; content is a text that repeats itself.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable, Sequence
from signal import Signals
from typing import Any, Final

import attrs

from mmsim import syscalls
from mmsim.emit.record import SETUP, Record
from mmsim.errors import UserError
from mmsim.report.calls import flags
from mmsim.machine import MAIN
from mmsim.syscalls import MAP_FIXED, MREMAP_FIXED, PAGE_SIZE, Device, Mount

PREFIXES: Final = {
    ("mmap", "prot"): "PROT_",
    ("mmap", "flags"): "MAP_",
    ("mprotect", "prot"): "PROT_",
    ("mremap", "flags"): "MREMAP_",
    ("madvise", "advice"): "MADV_",
    ("fallocate", "mode"): "FALLOC_FL_",
    ("memfd_create", "flags"): "MFD_",
    ("add_seals", "seals"): "F_SEAL_",
    ("uffd_register", "mode"): "UFFDIO_REGISTER_MODE_",
    ("vmsplice", "flags"): "SPLICE_F_",
    ("open", "flags"): "O_",
    ("reopen", "flags"): "O_",
    ("remount", "flags"): "MS_",
    ("chattr", "flags"): "FS_",
}
ZERO: Final = {"PROT_": "PROT_NONE", "O_": "O_RDONLY"}
EMPTY: Final = '"", 0'
LONGEST_PERIOD: Final = 16
KEYWORDS: Final = frozenset(
    "auto break case char const continue default do double else enum extern float for goto if inline int long register"
    " restrict return short signed sizeof static struct switch typedef union unsigned void volatile while main bytes"
    " read write open close pipe dup fork exit load store splice tee sync mmap munmap time index signal stdin stdout".split()
)


@attrs.define(eq=False)
class Variable:
    """What a call left behind."""

    name: str
    kind: str
    """`fd`, `address`, `io` or `buffer`."""
    value: Any
    thread: str
    process: str
    length: int = 0
    used: bool = False
    used_elsewhere: bool = False

    @property
    def type(self) -> str:
        """How it is declared."""
        return {"fd": "int ", "address": "char *", "io": "struct io ", "buffer": "struct buffer "}[self.kind]

    @property
    def is_static(self) -> bool:
        """Whether it must outlive its function, or be seen by others."""
        return self.used_elsewhere or self.kind in {"io", "buffer"}


class Writer:
    """Writes each call of a run, in the order in which they are made."""

    def __init__(
        self,
        process_of: dict[str, str],
        numbers: dict[str, str],
        device: Callable[[str, str], str],
        reserved: Iterable[str],
        earlier: Sequence[Variable] = (),
    ) -> None:
        """`earlier`: what an earlier writing of the same calls came to know of which variables are used.

        `process_of` says which process each thread is of, `numbers` what the program calls each process,
        `device` what it calls the device of that name that a thread means.
        """
        self.variables: list[Variable] = []
        self.longest = PAGE_SIZE
        self.pairs: list[tuple[str, str]] = []
        """(thread, name) of every array that pipe() or socketpair() fills."""
        self._earlier = earlier
        self._process_of = process_of
        self._numbers = numbers
        self._device = device
        self._reserved = KEYWORDS | frozenset(reserved)

    def lines(self, record: Record) -> list[str]:
        """The C statements of one call, its check included; none for what is no call (an I/O that never began)."""
        write = getattr(self, f"_{record.verb}", None)
        if write is None:
            msg = f"{record.verb}() is not written as C"
            raise UserError(msg)
        made: list[str] | str = write(record, record.arguments)
        return [made] if isinstance(made, str) else made

    def size(self, number: int) -> str:
        """A number of bytes, as it is written."""
        return _size(number)

    def filled(self, data: bytes) -> str:
        """An expression whose value is the address of these bytes."""
        self._room(len(data))
        return f"fill({pairs(data) or EMPTY})"

    # ---- descriptors and files

    def _memfd_create(self, r: Record, a: dict[str, Any]) -> str:
        call = f'memfd_create("{_escaped(a["name"].encode())}", {self._flags(r, "flags")})'
        return self._descriptor(r, call, a["name"])

    def _open(self, r: Record, a: dict[str, Any]) -> str:
        mount: Mount = a["mount"]
        mode = ", 0600" if a["flags"] & syscalls.O_CREAT else ""
        return self._descriptor(r, f'open("{directory(mount)}/{a["name"]}", {self._flags(r, "flags")}{mode})', a["name"])

    def _reopen(self, r: Record, a: dict[str, Any]) -> str:
        return self._descriptor(r, f"reopen({self._fd(r, a['fd'])}, {self._flags(r, 'flags')})", "again")

    def _dup(self, r: Record, a: dict[str, Any]) -> str:
        return self._descriptor(r, f"dup({self._fd(r, a['fd'])})", "copy")

    def _udmabuf_create(self, r: Record, a: dict[str, Any]) -> str:
        call = f"udmabuf_create({self._fd(r, a['fd'])}, {a['offset']}, {_size(a['length'])})"
        return self._descriptor(r, call, "dmabuf")

    def _pipe(self, r: Record, _: dict[str, Any]) -> list[str]:
        return self._pair(r, "pipe({})", ("out", "in"))

    def _socketpair(self, r: Record, _: dict[str, Any]) -> list[str]:
        return self._pair(r, "socketpair(AF_UNIX, SOCK_STREAM, 0, {})", ("here", "there"))

    def _close(self, r: Record, a: dict[str, Any]) -> str:
        return self._number(r, f"close({self._fd(r, a['fd'])})")

    def _ftruncate(self, r: Record, a: dict[str, Any]) -> str:
        return self._number(r, f"ftruncate({self._fd(r, a['fd'])}, {_size(a['length'])})")

    def _fallocate(self, r: Record, a: dict[str, Any]) -> str:
        where = f"{_size(a['offset'])}, {_size(a['length'])}"
        return self._number(r, f"fallocate({self._fd(r, a['fd'])}, {self._flags(r, 'mode')}, {where})")

    def _fchmod(self, r: Record, a: dict[str, Any]) -> str:
        return self._number(r, f"fchmod({self._fd(r, a['fd'])}, {a['mode']:#o})".replace("0o", "0"))

    def _add_seals(self, r: Record, a: dict[str, Any]) -> str:
        return self._number(r, f"fcntl({self._fd(r, a['fd'])}, F_ADD_SEALS, {self._flags(r, 'seals')})")

    def _get_seals(self, r: Record, a: dict[str, Any]) -> str:
        want = r.answer if r.answer < 0 else flags(r.answer, _names("F_SEAL_")).replace("|", " | ")
        return self._expect(_errno(want), f"fcntl({self._fd(r, a['fd'])}, F_GET_SEALS)")

    def _read(self, r: Record, a: dict[str, Any]) -> str:
        return self._content(r, f"read({self._fd(r, a['fd'])}, bytes, {self._room(a['length'])})")

    def _pread(self, r: Record, a: dict[str, Any]) -> str:
        return self._content(
            r, f"pread({self._fd(r, a['fd'])}, bytes, {self._room(a['length'])}, {_size(a['offset'])})"
        )

    def _write(self, r: Record, a: dict[str, Any]) -> str:
        return self._number(r, f"write({self._fd(r, a['fd'])}, {self._data(a['data'])})")

    def _pwrite(self, r: Record, a: dict[str, Any]) -> str:
        return self._number(r, f"pwrite({self._fd(r, a['fd'])}, {self._data(a['data'])}, {_size(a['offset'])})")

    # ---- memory

    def _mmap(self, r: Record, a: dict[str, Any]) -> str:
        hint = "NULL"
        if a["flags"] & MAP_FIXED:
            hint = self._address(r, a["address"])
        elif r.answer >= 0:
            hint = f"AT({r.answer:#x})"
        what = f"{_size(a['length'])}, {self._flags(r, 'prot')}, {self._flags(r, 'flags')}"
        call = f"mmap({hint}, {what}, {self._fd(r, a['fd'])}, {_size(a['offset'])})"
        return self._mapping(r, call, a["length"])

    def _munmap(self, r: Record, a: dict[str, Any]) -> str:
        return self._number(r, f"munmap({self._address(r, a['address'])}, {_size(a['length'])})")

    def _mprotect(self, r: Record, a: dict[str, Any]) -> str:
        where = f"{self._address(r, a['address'])}, {_size(a['length'])}"
        return self._number(r, f"mprotect({where}, {self._flags(r, 'prot')})")

    def _madvise(self, r: Record, a: dict[str, Any]) -> str:
        where = f"{self._address(r, a['address'])}, {_size(a['length'])}"
        return self._number(r, f"madvise({where}, {self._flags(r, 'advice')})")

    def _mremap(self, r: Record, a: dict[str, Any]) -> str:
        to = f", {self._address(r, a['to'])}" if a["flags"] & MREMAP_FIXED else ""
        sizes = f"{_size(a['old_length'])}, {_size(a['new_length'])}"
        call = f"mremap({self._address(r, a['address'])}, {sizes}, {self._flags(r, 'flags')}{to})"
        return self._mapping(r, call, a["new_length"])

    def _load(self, r: Record, a: dict[str, Any]) -> str:
        return self._content(r, f"load({self._address(r, a['address'])}, {self._room(a['length'])})")

    def _store(self, r: Record, a: dict[str, Any]) -> str:
        return self._number(r, f"store({self._address(r, a['address'])}, {self._data(a['data'])})")

    # ---- processes

    def _fork(self, r: Record, a: dict[str, Any]) -> str:
        child = a["child"].__name__
        return f"expect_fork({self._numbers[child]}, {child});"

    # ---- direct I/O and registered buffers

    def _submit_direct_read(self, r: Record, a: dict[str, Any]) -> str:
        return self._submit(r, "submit_read", a["device"], a["address"], len(a["data"]))

    def _submit_direct_write(self, r: Record, a: dict[str, Any]) -> str:
        return self._submit(r, "submit_write", a["device"], a["address"], a["length"])

    def _submit(self, r: Record, how: str, device: Device, address: int, length: int) -> str:
        io = self._variable(r, "io", r.answer, r.named[0] if r.named else "io")
        io.used = True
        call = f"{how}(&{io.name}, &{self._device(r.thread, device.name)}, {self._address(r, address)}, {self._room(length)})"
        return self._expect("0" if not isinstance(r.answer, int) else _errno(r.answer), call)

    def _wait_for(self, r: Record, a: dict[str, Any]) -> list[str]:
        if isinstance(a["io"], int):
            return []
        io = self._found(a["io"])
        how = "wait_for_fixed" if io.kind == "buffer" else "wait_for"
        return [self._expect(_size(r.answer), f"{how}(&{io.name})")]

    def _device_contents(self, r: Record, a: dict[str, Any]) -> str:
        return self._content(r, f"device_contents(&{self._device(r.thread, a['device'].name)}, {self._room(len(r.answer))})")

    def _register_buffer(self, r: Record, a: dict[str, Any]) -> str:
        buffer = self._variable(r, "buffer", r.answer, r.named[0] if r.named else "buffer")
        buffer.used = True
        call = f"register_buffer(&{buffer.name}, {self._address(r, a['address'])}, {self._room(a['length'])})"
        return self._expect("0" if not isinstance(r.answer, int) else _errno(r.answer), call)

    def _submit_read_fixed(self, r: Record, a: dict[str, Any]) -> list[str]:
        if isinstance(a["buffer"], int):
            return []
        buffer = self._found(a["buffer"])
        alias = attrs.evolve(buffer, value=r.answer)  # its ring tells when the I/O is over
        self.variables.append(alias)
        want = "0" if not isinstance(r.answer, int) else _errno(r.answer)
        return [
            self._expect(want, f"submit_read_fixed(&{buffer.name}, &{self._device(r.thread, a['device'].name)})")
        ]

    def _unregister_buffer(self, r: Record, a: dict[str, Any]) -> list[str]:
        if isinstance(a["buffer"], int):
            return []
        return [self._number(r, f"unregister_buffer(&{self._found(a['buffer']).name})")]

    # ---- pipes and sockets

    def _splice(self, r: Record, a: dict[str, Any]) -> str:
        offset = "NULL" if a["offset"] is None else f"at({_size(a['offset'])})"
        from_pipe = self._kind_of(r, a["fd_in"]) == "pipe"
        before, after = ("NULL", offset) if from_pipe else (offset, "NULL")
        call = f"splice({self._fd(r, a['fd_in'])}, {before}, {self._fd(r, a['fd_out'])}, {after}, {_size(a['length'])}, 0)"
        return self._number(r, call)

    def _sendfile(self, r: Record, a: dict[str, Any]) -> str:
        offset = "NULL" if a["offset"] is None else f"at({_size(a['offset'])})"
        ends = f"{self._fd(r, a['fd_out'])}, {self._fd(r, a['fd_in'])}"
        return self._number(r, f"sendfile({ends}, {offset}, {_size(a['length'])})")

    def _tee(self, r: Record, a: dict[str, Any]) -> str:
        ends = f"{self._fd(r, a['fd_in'])}, {self._fd(r, a['fd_out'])}"
        return self._number(r, f"tee({ends}, {_size(a['length'])}, 0)")

    def _vmsplice(self, r: Record, a: dict[str, Any]) -> str:
        what = f"{self._address(r, a['address'])}, {_size(a['length'])}, {self._flags(r, 'flags')}"
        return self._number(r, f"give({self._fd(r, a['fd'])}, {what})")

    # ---- other processes' memory, userfaultfd

    def _process_vm_writev(self, r: Record, a: dict[str, Any]) -> str:
        pid, where = self._process(r, a["of"]), self._address(r, a["address"], a["of"])
        return self._number(r, f"write_process({pid}, {where}, {self._data(a['data'])})")

    def _mem_write(self, r: Record, a: dict[str, Any]) -> str:
        pid, where = self._process(r, a["of"]), self._address(r, a["address"], a["of"])
        return self._number(r, f"mem_write({pid}, {where}, {self._data(a['data'])})")

    def _mem_read(self, r: Record, a: dict[str, Any]) -> str:
        pid, where = self._process(r, a["of"]), self._address(r, a["address"], a["of"])
        return self._content(r, f"mem_read({pid}, {where}, {self._room(a['length'])})")

    def _uffd_register(self, r: Record, a: dict[str, Any]) -> str:
        where = f"{self._address(r, a['address'])}, {_size(a['length'])}"
        return self._number(r, f"uffd_register({where}, {self._flags(r, 'mode')})")

    def _uffd_copy(self, r: Record, a: dict[str, Any]) -> str:
        return self._number(r, f"uffd_copy({self._address(r, a['address'])}, {self._data(a['data'])})")

    def _uffd_continue(self, r: Record, a: dict[str, Any]) -> str:
        return self._number(r, f"uffd_continue({self._address(r, a['address'])})")

    # ---- pages that move or are looked at

    def _move_pages(self, r: Record, a: dict[str, Any]) -> str:
        return self._number(r, f"move_page({self._address(r, a['address'])})")

    def _compact_memory(self, r: Record, _: dict[str, Any]) -> str:
        return self._number(r, "compact_memory()")

    def _scan_pages(self, r: Record, _: dict[str, Any]) -> str:
        return self._number(r, "scan_pages()")

    # ---- file systems

    def _remount(self, r: Record, a: dict[str, Any]) -> str:
        return self._number(r, f'remount("{directory(a["mount"])}", {self._flags(r, "flags")})')

    def _chattr(self, r: Record, a: dict[str, Any]) -> str:
        return self._number(r, f"chattr({self._fd(r, a['fd'])}, {self._flags(r, 'flags')})")

    def _sync(self, *_: Any) -> str:
        return "sync();"

    def _disk_contents(self, r: Record, a: dict[str, Any]) -> str:
        self._room(len(r.answer))
        return self._content(r, f'disk_contents("{image(a["mount"])}", "{a["name"]}")')

    # ---- answers

    def _expect(self, want: str, call: str) -> str:
        return f"expect({want}, {call});"

    def _number(self, r: Record, call: str) -> str:
        if isinstance(r.answer, Signals):
            return self._expect(f"-{r.answer.name}", call)
        return self._expect(_errno(r.answer or 0), call)

    def _content(self, r: Record, call: str) -> str:
        if not isinstance(r.answer, bytes):
            return self._number(r, call)
        self._room(len(r.answer))
        return f"expect_bytes({call}, {pairs(r.answer) or EMPTY});"

    def _descriptor(self, r: Record, call: str, name: str) -> str:
        if r.answer < 0:
            return self._expect(_errno(r.answer), call)
        variable = self._variable(r, "fd", r.answer, r.named[0] if r.named else name)
        return f"{variable.name} = expect_fd({call});" if variable.used else f"expect_fd({call});"

    def _pair(self, r: Record, call: str, names: tuple[str, str]) -> list[str]:
        named = r.named if len(r.named) == len(names) else names
        ends = [self._variable(r, "fd", value, name) for name, value in zip(named, r.answer, strict=True)]
        for end in ends:
            end.length = -1  # an end of a pipe
        both = self._unique("ends")
        self.pairs.append((r.thread, both))
        lines = [self._expect("0", call.format(both))]
        return lines + [f"{end.name} = {both}[{number}];" for number, end in enumerate(ends) if end.used]

    def _mapping(self, r: Record, call: str, length: int) -> str:
        if r.answer < 0:
            return self._expect(_errno(r.answer), call)
        variable = self._variable(r, "address", r.answer, r.named[0] if r.named else "window")
        variable.length = length
        return f"{variable.name} = expect_address({call});" if variable.used else f"expect_address({call});"

    # ---- arguments

    def _flags(self, r: Record, parameter: str) -> str:
        prefix = PREFIXES[r.verb, parameter]
        value = r.arguments[parameter]
        if r.verb in {"open", "reopen"} and not value & 3:  # O_RDONLY is no bit
            return "|".join(["O_RDONLY", *([flags(value, _names(prefix))] if value else [])]).replace("|", " | ")
        return ZERO.get(prefix, "0") if not value else flags(value, _names(prefix)).replace("|", " | ")

    def _fd(self, r: Record, number: int) -> str:
        variable = self._search(r, "fd", lambda each: each.value == number)
        return variable.name if variable else str(min(number, -1))

    def _kind_of(self, r: Record, number: int) -> str:
        variable = self._search(r, "fd", lambda each: each.value == number)
        return "pipe" if variable and variable.length < 0 else "file"

    def _address(self, r: Record, address: int, of: Any = None) -> str:
        process = None if of is None else self._process_of[of.__name__]
        within = self._search(
            r, "address", lambda each: each.value <= address < each.value + max(each.length, 1), process
        )
        if within is None or (process is not None and within.thread != SETUP):
            return f"AT({address:#x})"
        offset = address - within.value
        return f"{within.name} + {_size(offset)}" if offset else within.name

    def _process(self, r: Record, of: Any) -> str:
        if of is None:
            return "getpid()"
        return f"shared->pid[{self._numbers[self._process_of[of.__name__]]}]"

    def _data(self, data: bytes) -> str:
        return f"{self.filled(data)}, {_size(len(data))}"

    def _room(self, length: int) -> str:
        self.longest = max(self.longest, length)
        return _size(length)

    # ---- variables

    def _variable(self, r: Record, kind: str, value: Any, name: str) -> Variable:
        made = Variable(self._unique(name), kind, value, r.thread, self._process_of.get(r.thread, MAIN))
        before = next((each for each in self._earlier if each.name == made.name), made)
        made.used, made.used_elsewhere = before.used, before.used_elsewhere
        self.variables.append(made)
        return made

    def _unique(self, name: str) -> str:
        plain = re.sub(r"\W", "_", name).lower().lstrip("_0123456789") or "it"
        taken = {variable.name for variable in self.variables} | {pair for _, pair in self.pairs} | self._reserved
        candidates = (plain, *(f"{plain}{number}" for number in range(2, 1000)))
        return next(candidate for candidate in candidates if candidate not in taken)

    def _search(self, r: Record, kind: str, fits: Any, process: str | None = None) -> Variable | None:
        own = process or self._process_of.get(r.thread, MAIN)
        found = [each for each in self.variables if each.kind == kind and fits(each)]
        found.sort(key=lambda each: (each.process == own, each.thread == SETUP))
        latest = [each for each in found if each.process == own] or [each for each in found if each.process == MAIN]
        return self._use(latest[-1], r.thread) if latest else None

    def _found(self, value: Any) -> Variable:
        variable = next(each for each in reversed(self.variables) if each.value is value)
        variable.used = True
        return variable

    @staticmethod
    def _use(variable: Variable, thread: str) -> Variable:
        variable.used = True
        variable.used_elsewhere |= variable.thread != thread
        return variable


def directory(mount: Mount) -> str:
    """Where a mount is."""
    return f"/tmp/{mount.name}"  # noqa: S108  (a tmpfs of the program's own, in a mount namespace of its own)


def image(mount: Mount) -> str:
    """Where its disk is."""
    return f"{directory(mount)}.img"


def pairs(data: bytes) -> str:
    """`"late", PAGE_SIZE`: texts that repeat themselves, each with its length; zeros are an empty text."""
    found: list[tuple[bytes, int]] = []
    for text, length in _runs(data):
        if found and found[-1][0] == text and not found[-1][1] % max(len(text), 1):
            found[-1] = text, found[-1][1] + length
        else:
            found.append((text, length))
    return ", ".join(f'"{_escaped(text)}", {_size(length)}' for text, length in found)


def _runs(data: bytes) -> Iterable[tuple[bytes, int]]:
    if not data:
        return
    if not any(data):
        yield b"", len(data)
        return
    for period in range(1, min(len(data), LONGEST_PERIOD) + 1):
        text = data[:period]
        if 0 not in text and (text * (len(data) // period + 1))[: len(data)] == data:
            yield text, len(data)
            return
    half = PAGE_SIZE * -(-len(data) // (2 * PAGE_SIZE)) if len(data) > PAGE_SIZE else (len(data) + 1) // 2
    yield from _runs(data[:half])
    yield from _runs(data[half:])


def _escaped(text: bytes) -> str:
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\?' else f"\\{byte:03o}"  # noqa: PLR2004  (printable ASCII)
        for byte in text
    )


def _size(number: int) -> str:
    """A number of bytes."""
    if number < 0:
        return _errno(number)
    count, rest = divmod(number, PAGE_SIZE)
    if rest or not count:
        return str(number)
    return "PAGE_SIZE" if count == 1 else f"{count} * PAGE_SIZE"


def _errno(number: int | str) -> str:
    """An answer: an errno by its name, a size in pages."""
    if isinstance(number, str):
        return number
    if -number in errno.errorcode:
        return f"-{errno.errorcode[-number]}"
    return _size(number) if number >= 0 else str(number)


def _names(prefix: str) -> Sequence[str]:
    return [name for name, value in vars(syscalls).items() if name.startswith(prefix) and value]
