"""A FUSE server without libfuse: the slow device, a file whose direct reads and writes are answered when told.

Follows include/uapi/linux/fuse.h (protocol 7.31 and later) and fs/fuse/file.c: every file is opened with
FOPEN_DIRECT_IO, so the kernel pins the caller's buffer, queues the request and waits for the answer.  When a request
can be received its pages are pinned already.  The answer to a read is copied into them; a write's bytes are copied out
of them when the server *receives* the request, which is why a `Connection` is told when to receive.

Not modelled: the page cache (nothing is ever cached), attributes, directories; names are the numbers of files.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import attrs

from mmsim.conformance import native

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LARGEST_IO: Final = 1 << 18
"""No request is larger, so that one I/O is one request."""

_PAGES: Final = 2 * LARGEST_IO // 4096
_IN_HEADER: Final = struct.Struct("<IIQQIIIHH")
_OUT_HEADER: Final = struct.Struct("<IiQ")
_READ_WRITE: Final = struct.Struct("<QQIIQII")
_ATTRIBUTES: Final = struct.Struct("<6Q10I")
_FILE_SIZE: Final = 1 << 46  # a loop device on the file has to reach every lane's part of it
_ROOT: Final = 1
_FIRST_FILE: Final = 2
_FOR_EVER: Final = 1 << 30
_FOPEN_DIRECT_IO: Final = 1
_BIG_WRITES, _MAX_PAGES = 1 << 5, 1 << 22

_LOOKUP, _FORGET, _GETATTR, _OPEN, _READ, _WRITE, _RELEASE = 1, 2, 3, 14, 15, 16, 18
_INIT, _INTERRUPT, _BATCH_FORGET = 26, 36, 42
_NEVER_ANSWERED: Final = frozenset({_FORGET, _INTERRUPT, _BATCH_FORGET})


@attrs.frozen
class Request:
    """A direct read or write in flight: its pages stay pinned until it is answered."""

    unique: int
    file: int
    offset: int
    size: int
    written: bytes | None
    """What a write wrote; None for a read."""


class Connection:
    """One mount and the /dev/fuse descriptor that serves it.  Never blocks."""

    def __init__(self, directory: Path, keep: Callable[[int], int] = lambda descriptor: descriptor) -> None:
        """Mount on `directory`, which is made here; `keep` may move the descriptor.  `Impossible` where forbidden."""
        try:
            self.fd = keep(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK))
        except OSError as error:
            msg = f"the slow device needs FUSE, and /dev/fuse cannot be opened ({os.strerror(error.errno or 0)})"
            raise native.Impossible(msg) from None
        self.directory = directory
        directory.mkdir()
        options = f"fd={self.fd},rootmode={stat.S_IFDIR:o},user_id={os.getuid()},group_id={os.getgid()}"
        try:
            native.mount("mmsim", str(directory), "fuse", native.MS_NOSUID | native.MS_NODEV, options)
        except OSError as error:
            os.close(self.fd)
            directory.rmdir()
            msg = f"the slow device needs a FUSE mount, which is refused here ({os.strerror(error.errno or 0)})"
            raise native.Impossible(msg) from None

    def close(self) -> None:
        """Unmount.  Whoever still waits for an answer gets an error."""
        with suppress(OSError):
            native.umount(str(self.directory))
        os.close(self.fd)
        with suppress(OSError):
            self.directory.rmdir()

    def receive(self) -> list[Request]:
        """Every read and write that waits in the queue; what else the kernel asks is answered on the way."""
        found: list[Request] = []
        while True:
            try:
                message = os.read(self.fd, LARGEST_IO + 4096)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno in {errno.ENOENT, errno.EINTR}:  # a request that was interrupted before we took it
                    continue
                if error.errno == errno.ENODEV:  # unmounted
                    return found
                raise
            _, opcode, unique, node, *_ = _IN_HEADER.unpack_from(message)
            body = message[_IN_HEADER.size :]
            if opcode in {_READ, _WRITE}:
                _, offset, size, *_ = _READ_WRITE.unpack_from(body)
                written = body[_READ_WRITE.size :][:size] if opcode == _WRITE else None
                found.append(Request(unique, node - _FIRST_FILE, offset, size, written))
            elif opcode not in _NEVER_ANSWERED:
                self._reply(unique, self._housekeeping(opcode, node, body))

    def answer(self, request: Request, data: bytes = b"") -> None:
        """Complete an I/O: `data` goes into the pinned pages of a read; a write is told that all was written."""
        self._reply(request.unique, data if request.written is None else struct.pack("<II", request.size, 0))

    def _housekeeping(self, opcode: int, node: int, body: bytes) -> bytes | int:
        if opcode == _INIT:
            flags = _BIG_WRITES | _MAX_PAGES
            return struct.pack("<IIIIHHIIHHI28x", 7, 31, 0, flags, 64, 48, LARGEST_IO, 1, _PAGES, 0, 0)
        if opcode == _LOOKUP:
            name = body.rstrip(b"\0")
            if not name.isdigit():
                return -errno.ENOENT
            file = int(name) + _FIRST_FILE
            return struct.pack("<QQQQII", file, 0, _FOR_EVER, _FOR_EVER, 0, 0) + _attributes(file)
        if opcode == _GETATTR:
            return struct.pack("<QII", _FOR_EVER, 0, 0) + _attributes(node)
        if opcode == _OPEN:
            return struct.pack("<QII", 0, _FOPEN_DIRECT_IO, 0)
        return b"" if opcode == _RELEASE else -errno.ENOSYS

    def _reply(self, unique: int, payload: bytes | int) -> None:
        error, data = (payload, b"") if isinstance(payload, int) else (0, payload)
        with suppress(FileNotFoundError):  # the request was aborted meanwhile
            os.write(self.fd, _OUT_HEADER.pack(_OUT_HEADER.size + len(data), error, unique) + data)


def _attributes(node: int) -> bytes:
    mode = stat.S_IFDIR | 0o700 if node == _ROOT else stat.S_IFREG | 0o600
    size = 0 if node == _ROOT else _FILE_SIZE
    return _ATTRIBUTES.pack(node, size, 0, 0, 0, 0, 0, 0, 0, mode, 1, os.getuid(), os.getgid(), 0, 4096, 0)
