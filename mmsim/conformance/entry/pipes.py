"""Pipes, sockets, and what moves pages through them."""

from __future__ import annotations

import ctypes
import os
import socket
import stat
import struct

from mmsim.conformance import native
from mmsim.conformance.real import Calls, in_arena, own
from mmsim.errors import UserError

INT = 4
POINTER = 8


class PipeCalls(Calls):
    """pipe(2), splice(2) and their kin."""

    async def pipe(self) -> tuple[int, int]:
        """pipe(2)."""
        pair = ctypes.create_string_buffer(2 * INT)
        return _pair(self.call(native.SYS_PIPE2, native.address_of(pair), 0), pair.raw)

    async def socketpair(self) -> tuple[int, int]:
        """socketpair(AF_UNIX, SOCK_STREAM)."""
        pair = ctypes.create_string_buffer(2 * INT)
        kind = socket.AF_UNIX, socket.SOCK_STREAM, 0
        return _pair(self.call(native.SYS_SOCKETPAIR, *kind, native.address_of(pair)), pair.raw)

    async def splice(self, fd_in: int, offset: int | None, fd_out: int, length: int) -> int:
        """splice(2); the offset is that of the end which is no pipe."""
        at = _pointer(offset)
        where = native.address_of(at) if at else 0
        off_in, off_out = (0, where) if _is_pipe(fd_in) else (where, 0)
        return self.call(native.SYS_SPLICE, own(fd_in), off_in, own(fd_out), off_out, length, 0)

    async def sendfile(self, fd_out: int, fd_in: int, offset: int | None, length: int) -> int:
        """sendfile(2)."""
        at = _pointer(offset)
        return self.call(native.SYS_SENDFILE, own(fd_out), own(fd_in), native.address_of(at) if at else 0, length)

    async def tee(self, fd_in: int, fd_out: int, length: int) -> int:
        """tee(2)."""
        return self.call(native.SYS_TEE, own(fd_in), own(fd_out), length, 0)

    async def vmsplice(self, fd: int, address: int, length: int, flags: int = 0) -> int:
        """vmsplice(2) of one piece of memory."""
        iovec = native.iovec(in_arena(address, length), length)
        return self.call(native.SYS_VMSPLICE, own(fd), native.address_of(iovec), 1, flags)


def _pair(result: int, raw: bytes) -> tuple[int, int]:
    """The two descriptors that the kernel left in memory."""
    if result < 0:
        msg = f"a pair of descriptors is refused: {os.strerror(-result)}"
        raise UserError(msg)
    first, second = struct.unpack("=ii", raw)
    return first, second


def _pointer(offset: int | None) -> ctypes.Array[ctypes.c_char] | None:
    """A loff_t in memory, or none."""
    return None if offset is None else ctypes.create_string_buffer(struct.pack("=q", offset), POINTER)


def _is_pipe(fd: int) -> bool:
    """Whether this open descriptor is an end of a pipe."""
    try:
        return stat.S_ISFIFO(os.fstat(own(fd)).st_mode)
    except OSError:
        return False
