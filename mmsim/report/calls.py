"""System calls as a kernel changelog writes them: `munmap()`, `fcntl(F_ADD_SEALS, F_SEAL_WRITE)`, `io_submit(...)`.

A call is found among a step's frames by the names of `mmsim.syscalls.Syscalls`; the code of a device or of an interrupt
makes none, and is known by the function that its loop calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from mmsim import syscalls
from mmsim.report.values import show
from mmsim.steps import Context
from mmsim.trace import call_key, system_call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmsim.trace import Frame, TracedStep

FLAGS: Final = {
    ("mmap", "prot"): ("PROT_READ", "PROT_WRITE"),
    ("mmap", "flags"): ("MAP_SHARED", "MAP_PRIVATE"),
    ("madvise", "advice"): ("MADV_DONTNEED",),
    ("uffd_register", "mode"): ("UFFDIO_REGISTER_MODE_MISSING", "UFFDIO_REGISTER_MODE_MINOR"),
    ("memfd_create", "flags"): ("MFD_CLOEXEC", "MFD_ALLOW_SEALING"),
    ("vmsplice", "flags"): ("SPLICE_F_GIFT",),
    ("open", "flags"): ("O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"),
    ("reopen", "flags"): ("O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"),
    ("remount", "flags"): ("MS_RDONLY",),
    ("chattr", "flags"): ("FS_IMMUTABLE_FL",),
    ("add_seals", "seals"): ("F_SEAL_SEAL", "F_SEAL_SHRINK", "F_SEAL_GROW", "F_SEAL_WRITE"),
}

WRITTEN: Final = {
    "add_seals": ("fcntl", "F_ADD_SEALS"),
    "get_seals": ("fcntl", "F_GET_SEALS"),
    "submit_direct_read": ("io_submit", "read"),
    "submit_direct_write": ("io_submit", "write"),
    "wait_for": ("io_getevents",),
    "register_buffer": ("io_uring_register", "BUFFERS"),
    "submit_read_fixed": ("io_uring_enter", "READ_FIXED"),
    "unregister_buffer": ("io_uring_unregister", "BUFFERS"),
    "device_contents": ("device contents",),
    "mem_write": ("pwrite", "/proc/PID/mem"),
    "mem_read": ("pread", "/proc/PID/mem"),
    "uffd_register": ("ioctl", "UFFDIO_REGISTER"),
    "uffd_copy": ("ioctl", "UFFDIO_COPY"),
    "uffd_continue": ("ioctl", "UFFDIO_CONTINUE"),
    "disk_contents": ("disk contents",),
    "reopen": ("open", "/proc/self/fd"),
    "remount": ("mount", "MS_REMOUNT"),
    "chattr": ("ioctl", "FS_IOC_SETFLAGS"),
    "load": ("CPU load",),
    "store": ("CPU store",),
}
"""How a call is written where its name is not the verb's own, with what goes first in the brackets."""

UNTOLD: Final = frozenset({"fd", "fd_in", "fd_out", "address", "io", "name", "buffer"})
"""Parameters that tell a reader nothing: which number a descriptor or an address happens to have."""


@attrs.frozen
class Call:
    """The call that a step belongs to; two steps of one call have equal keys."""

    text: str
    key: tuple[object, ...]


def call(step: TracedStep) -> Call:
    """The system call a step was made in, or the function that an interrupt or a device carries out."""
    if not step.frames:
        return Call(step.thread, (step.thread,))
    depth = system_call(step.frames)
    if depth is not None:
        return Call(written(step.frames[depth]), call_key(step.frames, depth))
    top = step.frames[0].function
    entry = step.frames[
        1 if len(step.frames) > 1 and (step.context is not Context.TASK or top == "device_interrupts") else 0
    ]  # below the device's loop
    return Call(f"{entry.function}()", (entry.function,))


def written(frame: Frame) -> str:
    """One system call in C's manner, less the arguments that tell nothing."""
    name, *first = WRITTEN.get(frame.function, (frame.function,))
    told = [argument(frame.function, key, value) for key, value in frame.arguments]
    return f"{name}({', '.join(filter(None, (*first, *told)))})"


def argument(function: str, name: str, value: Any) -> str:
    """One argument, by its symbolic name where it has one; '' where it says nothing."""
    one_page = name == "length" and value == syscalls.PAGE_SIZE and function != "ftruncate"
    if name in UNTOLD or value is None or one_page or (name == "offset" and not value):
        return ""
    known = FLAGS.get((function, name))
    if known is not None and isinstance(value, int):
        return flags(value, known)
    if isinstance(value, syscalls.Device | syscalls.Mount):
        return value.name
    if callable(value):
        return str(getattr(value, "__name__", value))
    return f"offset {value}" if name == "offset" else show(value)


def flags(value: int, names: Sequence[str]) -> str:
    """A bit mask as `A|B`, with what has no name as a number."""
    found = [name for name in names if value & getattr(syscalls, name)]
    rest = value & ~sum(getattr(syscalls, name) for name in found)
    return "|".join([*found, *([hex(rest)] if rest else [])]) or "0"
