"""Loop devices: a file as a disk.

Each is attached with LO_FLAGS_AUTOCLEAR, so that it is gone with the last who has it open or mounted, however he ends.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import Final

from mmsim.conformance import native

_CONFIG: Final = struct.Struct("=II 5Q 4I 160x 2Q 8Q")  # struct loop_config, with the struct loop_info64 in it
_READ_ONLY, _AUTOCLEAR, _DIRECT_IO = 1, 4, 16
_TRIES: Final = 100


def attach(backing: int, flags: int) -> tuple[int, str]:
    """A loop device with an open file behind it: its descriptor (opened with `flags`) and its path.

    A device opened read-only reads its file by direct I/O.  `native.Impossible` where there can be none.
    """
    mode = _AUTOCLEAR | (0 if flags & os.O_ACCMODE else _READ_ONLY | _DIRECT_IO)
    config = _CONFIG.pack(backing, 0, *(0,) * 5, 0, 0, 0, mode, *(0,) * 10)
    try:
        for _ in range(_TRIES):
            made = _try(config, flags)
            if made is not None:
                return made
    except OSError as error:
        msg = f"a loop device is refused here ({os.strerror(error.errno or 0)})"
        raise native.Impossible(msg) from None
    msg = f"no loop device stayed free in {_TRIES} tries"
    raise native.Impossible(msg)


def _try(config: bytes, flags: int) -> tuple[int, str] | None:
    """None where somebody else took the free one.  OSError."""
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    number = native.syscall(native.SYS_IOCTL, control, native.LOOP_CTL_GET_FREE)
    os.close(control)
    if number < 0:
        raise OSError(-number, os.strerror(-number))
    path = f"/dev/loop{number}"
    device = os.open(path, flags | os.O_CLOEXEC)
    answer, _ = native.ioctl(device, native.LOOP_CONFIGURE, config)
    if not answer:
        return device, path
    os.close(device)
    if answer != -errno.EBUSY:
        raise OSError(-answer, os.strerror(-answer))
    return None
