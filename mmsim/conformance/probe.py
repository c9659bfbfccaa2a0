"""What this kernel and these privileges allow: one sentence for each thing that they do not.

`probe()` asks in a process of its own, since the answers (namespaces, mounts, machine code) change who asks.
"""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path

import attrs

from mmsim.conformance import native
from mmsim.conformance.fuse import Connection
from mmsim.syscalls import MFD_ALLOW_SEALING


@attrs.frozen
class Probe:
    """None means that it works; a sentence says why not."""

    release: str
    """The running kernel's, as `uname -r` prints it."""
    system_calls: str | None
    """Threads, processes, memfds, loads and stores that survive their faults."""
    slow_device: str | None
    """A FUSE file whose direct I/O is answered when told."""


def enter_private_mounts() -> None:
    """A mount namespace of our own.  `native.Impossible` says why not."""
    try:
        native.private_mounts()
    except OSError as error:
        why = os.strerror(error.errno or 0)
        msg = f"the slow device needs a mount namespace of its own, which is refused here ({why})"
        raise native.Impossible(msg) from None


def examine(scratch: Path) -> Probe:
    """Try everything, in a process that may be spoilt by it."""
    return Probe(platform.release(), _system_calls(), _slow_device(scratch))


def _system_calls() -> str | None:
    if platform.system() != "Linux":
        return f"running on a real kernel needs Linux, and this is {platform.system()}"
    try:
        memory = native.fault_safe_memory()
    except native.Impossible as error:
        return str(error)
    name = ctypes.create_string_buffer(b"mmsim")
    fd = native.syscall(native.SYS_MEMFD_CREATE, native.address_of(name), MFD_ALLOW_SEALING)
    if fd < 0:
        return f"memfd_create is refused here ({os.strerror(-fd)})"
    seals = native.syscall(native.SYS_FCNTL, fd, native.F_GET_SEALS)
    os.close(fd)
    if seals < 0:
        return f"sealing is refused here ({os.strerror(-seals)})"
    if not isinstance(memory.load(0, 1), int):
        return "a load from address 0 raises no signal here"
    return None


def _slow_device(scratch: Path) -> str | None:
    try:
        enter_private_mounts()
        Connection(scratch / "probe").close()
    except native.Impossible as error:
        return str(error)
    return None
