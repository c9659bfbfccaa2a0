"""System calls as a C programmer writes them, with the check of their answers.

Descriptors, addresses, I/Os and registered buffers are variables of the program, found again by their values in the
model; content is a text that repeats itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from signal import Signals
from typing import Any, Final

from mmsim import syscalls
from mmsim.emit.record import SETUP, Record
from mmsim.emit.values import EMPTY, answered, escaped, pairs, size
from mmsim.emit.variables import Variables
from mmsim.errors import UserError
from mmsim.report.calls import flags
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


class Writer:
    """Writes each call of a run, in the order in which they are made."""

    def __init__(
        self,
        variables: Variables,
        numbers: dict[str, str],
        device: Callable[[str, str], str],
    ) -> None:
        """`numbers` is what the program calls each process, `device` what it calls the device that a thread means."""
        self.variables = variables
        self.longest = PAGE_SIZE
        """The largest content that a call moves, in bytes."""
        self._numbers = numbers
        self._device = device

    def lines(self, record: Record) -> list[str]:
        """The C statements of one call, its check included; none for what is no call (an I/O that never began)."""
        write = getattr(self, f"_{record.verb}", None)
        if write is None:
            msg = f"{record.verb}() is not written as C"
            raise UserError(msg)
        made: list[str] | str = write(record, record.arguments)
        return [made] if isinstance(made, str) else made

    def filled(self, data: bytes) -> str:
        """An expression whose value is the address of these bytes."""
        self._room(len(data))
        return f"fill({pairs(data) or EMPTY})"

    # ---- descriptors and files

    def _memfd_create(self, r: Record, a: dict[str, Any]) -> str:
        call = f'memfd_create("{escaped(a["name"].encode())}", {self._flags(r, "flags")})'
        return self._descriptor(r, call, a["name"])

    def _open(self, r: Record, a: dict[str, Any]) -> str:
        mount: Mount = a["mount"]
        mode = ", 0600" if a["flags"] & syscalls.O_CREAT else ""
        return self._descriptor(
            r, f'open("{directory(mount)}/{a["name"]}", {self._flags(r, "flags")}{mode})', a["name"]
        )

    def _reopen(self, r: Record, a: dict[str, Any]) -> str:
        return self._descriptor(r, f"reopen({self._fd(r, a['fd'])}, {self._flags(r, 'flags')})", "again")

    def _dup(self, r: Record, a: dict[str, Any]) -> str:
        return self._descriptor(r, f"dup({self._fd(r, a['fd'])})", "copy")

    def _udmabuf_create(self, r: Record, a: dict[str, Any]) -> str:
        call = f"udmabuf_create({self._fd(r, a['fd'])}, {a['offset']}, {size(a['length'])})"
        return self._descriptor(r, call, "dmabuf")

    def _pipe(self, r: Record, _: dict[str, Any]) -> list[str]:
        return self._pair(r, "pipe({})", ("out", "in"))

    def _socketpair(self, r: Record, _: dict[str, Any]) -> list[str]:
        return self._pair(r, "socketpair(AF_UNIX, SOCK_STREAM, 0, {})", ("here", "there"))

    def _close(self, r: Record, a: dict[str, Any]) -> str:
        return self._number(r, f"close({self._fd(r, a['fd'])})")

    def _ftruncate(self, r: Record, a: dict[str, Any]) -> str:
        return self._number(r, f"ftruncate({self._fd(r, a['fd'])}, {size(a['length'])})")

    def _fallocate(self, r: Record, a: dict[str, Any]) -> str:
        where = f"{size(a['offset'])}, {size(a['length'])}"
        return self._number(r, f"fallocate({self._fd(r, a['fd'])}, {self._flags(r, 'mode')}, {where})")

    def _fchmod(self, r: Record, a: dict[str, Any]) -> str:
        return self._number(r, f"fchmod({self._fd(r, a['fd'])}, {a['mode']:#o})".replace("0o", "0"))

    def _add_seals(self, r: Record, a: dict[str, Any]) -> str:
        return self._number(r, f"fcntl({self._fd(r, a['fd'])}, F_ADD_SEALS, {self._flags(r, 'seals')})")

    def _get_seals(self, r: Record, a: dict[str, Any]) -> str:
        want = answered(r.answer) if r.answer < 0 else flags(r.answer, _names("F_SEAL_")).replace("|", " | ")
        return self._expect(want, f"fcntl({self._fd(r, a['fd'])}, F_GET_SEALS)")

    def _read(self, r: Record, a: dict[str, Any]) -> str:
        return self._content(r, f"read({self._fd(r, a['fd'])}, bytes, {self._room(a['length'])})")

    def _pread(self, r: Record, a: dict[str, Any]) -> str:
        return self._content(r, f"pread({self._fd(r, a['fd'])}, bytes, {self._room(a['length'])}, {size(a['offset'])})")

    def _write(self, r: Record, a: dict[str, Any]) -> str:
        return self._number(r, f"write({self._fd(r, a['fd'])}, {self._data(a['data'])})")

    def _pwrite(self, r: Record, a: dict[str, Any]) -> str:
        return self._number(r, f"pwrite({self._fd(r, a['fd'])}, {self._data(a['data'])}, {size(a['offset'])})")

    # ---- memory

    def _mmap(self, r: Record, a: dict[str, Any]) -> str:
        hint = "NULL"
        if a["flags"] & MAP_FIXED:
            hint = self._address(r, a["address"])
        elif r.answer >= 0:
            hint = f"AT({r.answer:#x})"
        what = f"{size(a['length'])}, {self._flags(r, 'prot')}, {self._flags(r, 'flags')}"
        call = f"mmap({hint}, {what}, {self._fd(r, a['fd'])}, {size(a['offset'])})"
        return self._mapping(r, call, a["length"])

    def _munmap(self, r: Record, a: dict[str, Any]) -> str:
        return self._number(r, f"munmap({self._address(r, a['address'])}, {size(a['length'])})")

    def _mprotect(self, r: Record, a: dict[str, Any]) -> str:
        where = f"{self._address(r, a['address'])}, {size(a['length'])}"
        return self._number(r, f"mprotect({where}, {self._flags(r, 'prot')})")

    def _madvise(self, r: Record, a: dict[str, Any]) -> str:
        where = f"{self._address(r, a['address'])}, {size(a['length'])}"
        return self._number(r, f"madvise({where}, {self._flags(r, 'advice')})")

    def _mremap(self, r: Record, a: dict[str, Any]) -> str:
        to = f", {self._address(r, a['to'])}" if a["flags"] & MREMAP_FIXED else ""
        sizes = f"{size(a['old_length'])}, {size(a['new_length'])}"
        call = f"mremap({self._address(r, a['address'])}, {sizes}, {self._flags(r, 'flags')}{to})"
        return self._mapping(r, call, a["new_length"])

    def _load(self, r: Record, a: dict[str, Any]) -> str:
        return self._content(r, f"load({self._address(r, a['address'])}, {self._room(a['length'])})")

    def _store(self, r: Record, a: dict[str, Any]) -> str:
        return self._number(r, f"store({self._address(r, a['address'])}, {self._data(a['data'])})")

    # ---- processes

    def _fork(self, _: Record, a: dict[str, Any]) -> str:
        child = a["child"].__name__
        return f"expect_fork({self._numbers[child]}, {child});"

    # ---- direct I/O and registered buffers

    def _submit_direct_read(self, r: Record, a: dict[str, Any]) -> str:
        return self._submit(r, "submit_read", a["device"], a["address"], len(a["data"]))

    def _submit_direct_write(self, r: Record, a: dict[str, Any]) -> str:
        return self._submit(r, "submit_write", a["device"], a["address"], a["length"])

    def _submit(self, r: Record, how: str, device: Device, address: int, length: int) -> str:
        io = self.variables.make(r, "io", r.answer, r.named[0] if r.named else "io")
        ends = f"&{io.name}, &{self._device(r.thread, device.name)}"
        call = f"{how}({ends}, {self._address(r, address)}, {self._room(length)})"
        return self._expect("0" if not isinstance(r.answer, int) else answered(r.answer), call)

    def _wait_for(self, r: Record, a: dict[str, Any]) -> list[str]:
        if isinstance(a["io"], int):
            return []
        io = self.variables.holding(a["io"])
        how = "wait_for_fixed" if io.kind == "buffer" else "wait_for"
        return [self._expect(answered(r.answer), f"{how}(&{io.name})")]

    def _device_contents(self, r: Record, a: dict[str, Any]) -> str:
        return self._content(
            r, f"device_contents(&{self._device(r.thread, a['device'].name)}, {self._room(len(r.answer))})"
        )

    def _register_buffer(self, r: Record, a: dict[str, Any]) -> str:
        buffer = self.variables.make(r, "buffer", r.answer, r.named[0] if r.named else "buffer")
        call = f"register_buffer(&{buffer.name}, {self._address(r, a['address'])}, {self._room(a['length'])})"
        return self._expect("0" if not isinstance(r.answer, int) else answered(r.answer), call)

    def _submit_read_fixed(self, r: Record, a: dict[str, Any]) -> list[str]:
        if isinstance(a["buffer"], int):
            return []
        buffer = self.variables.holding(a["buffer"])
        self.variables.alias(buffer, r.answer)  # its ring tells when the I/O is over
        want = "0" if not isinstance(r.answer, int) else answered(r.answer)
        return [self._expect(want, f"submit_read_fixed(&{buffer.name}, &{self._device(r.thread, a['device'].name)})")]

    def _unregister_buffer(self, r: Record, a: dict[str, Any]) -> list[str]:
        if isinstance(a["buffer"], int):
            return []
        return [self._number(r, f"unregister_buffer(&{self.variables.holding(a['buffer']).name})")]

    # ---- pipes and sockets

    def _splice(self, r: Record, a: dict[str, Any]) -> str:
        offset = "NULL" if a["offset"] is None else f"at({size(a['offset'])})"
        from_pipe = self._kind_of(r, a["fd_in"]) == "pipe"
        before, after = ("NULL", offset) if from_pipe else (offset, "NULL")
        call = (
            f"splice({self._fd(r, a['fd_in'])}, {before}, {self._fd(r, a['fd_out'])}, {after}, {size(a['length'])}, 0)"
        )
        return self._number(r, call)

    def _sendfile(self, r: Record, a: dict[str, Any]) -> str:
        offset = "NULL" if a["offset"] is None else f"at({size(a['offset'])})"
        ends = f"{self._fd(r, a['fd_out'])}, {self._fd(r, a['fd_in'])}"
        return self._number(r, f"sendfile({ends}, {offset}, {size(a['length'])})")

    def _tee(self, r: Record, a: dict[str, Any]) -> str:
        ends = f"{self._fd(r, a['fd_in'])}, {self._fd(r, a['fd_out'])}"
        return self._number(r, f"tee({ends}, {size(a['length'])}, 0)")

    def _vmsplice(self, r: Record, a: dict[str, Any]) -> str:
        what = f"{self._address(r, a['address'])}, {size(a['length'])}, {self._flags(r, 'flags')}"
        return self._number(r, f"give({self._fd(r, a['fd'])}, {what})")

    # ---- other processes' memory, userfaultfd

    def _process_vm_writev(self, r: Record, a: dict[str, Any]) -> str:
        pid, where = self._process(a["of"]), self._address(r, a["address"], a["of"])
        return self._number(r, f"write_process({pid}, {where}, {self._data(a['data'])})")

    def _mem_write(self, r: Record, a: dict[str, Any]) -> str:
        pid, where = self._process(a["of"]), self._address(r, a["address"], a["of"])
        return self._number(r, f"mem_write({pid}, {where}, {self._data(a['data'])})")

    def _mem_read(self, r: Record, a: dict[str, Any]) -> str:
        pid, where = self._process(a["of"]), self._address(r, a["address"], a["of"])
        return self._content(r, f"mem_read({pid}, {where}, {self._room(a['length'])})")

    def _uffd_register(self, r: Record, a: dict[str, Any]) -> str:
        where = f"{self._address(r, a['address'])}, {size(a['length'])}"
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
        return self._expect(answered(r.answer or 0), call)

    def _content(self, r: Record, call: str) -> str:
        if not isinstance(r.answer, bytes):
            return self._number(r, call)
        self._room(len(r.answer))
        return f"expect_bytes({call}, {pairs(r.answer) or EMPTY});"

    def _descriptor(self, r: Record, call: str, name: str) -> str:
        if r.answer < 0:
            return self._expect(answered(r.answer), call)
        variable = self.variables.make(r, "fd", r.answer, r.named[0] if r.named else name)
        return f"{variable.name} = expect_fd({call});" if variable.used else f"expect_fd({call});"

    def _pair(self, r: Record, call: str, names: tuple[str, str]) -> list[str]:
        named = r.named if len(r.named) == len(names) else names
        ends = [self.variables.make(r, "fd", value, name) for name, value in zip(named, r.answer, strict=True)]
        for end in ends:
            end.length = -1  # an end of a pipe
        both = self.variables.pair(r)
        lines = [self._expect("0", call.format(both))]
        return lines + [f"{end.name} = {both}[{number}];" for number, end in enumerate(ends) if end.used]

    def _mapping(self, r: Record, call: str, length: int) -> str:
        if r.answer < 0:
            return self._expect(answered(r.answer), call)
        variable = self.variables.make(r, "address", r.answer, r.named[0] if r.named else "window")
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
        variable = self.variables.latest(r, "fd", lambda each: each.value == number)
        return variable.name if variable else str(min(number, -1))

    def _kind_of(self, r: Record, number: int) -> str:
        variable = self.variables.latest(r, "fd", lambda each: each.value == number)
        return "pipe" if variable and variable.length < 0 else "file"

    def _address(self, r: Record, address: int, of: Any = None) -> str:
        process = None if of is None else self.variables.process_of[of.__name__]
        within = self.variables.latest(
            r, "address", lambda each: each.value <= address < each.value + max(each.length, 1), process
        )
        if within is None or (process is not None and within.thread != SETUP):
            return f"AT({address:#x})"
        offset = address - within.value
        return f"{within.name} + {size(offset)}" if offset else within.name

    def _process(self, of: Any) -> str:
        if of is None:
            return "getpid()"
        return f"shared->pid[{self._numbers[self.variables.process_of[of.__name__]]}]"

    def _data(self, data: bytes) -> str:
        return f"{self.filled(data)}, {size(len(data))}"

    def _room(self, length: int) -> str:
        self.longest = max(self.longest, length)
        return size(length)


def directory(mount: Mount) -> str:
    """Where a mount is."""
    return f"/tmp/{mount.name}"  # noqa: S108  (a tmpfs of the program's own, in a mount namespace of its own)


def image(mount: Mount) -> str:
    """Where its disk is."""
    return f"{directory(mount)}.img"


def _names(prefix: str) -> Sequence[str]:
    return [name for name, value in vars(syscalls).items() if name.startswith(prefix) and value]
