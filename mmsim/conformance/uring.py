"""A ring of io_uring, as far as registered buffers need one.

Follows include/uapi/linux/io_uring.h.  Each buffer that a scenario registers has a ring of its own, so that it can be
unregistered by itself; to the pages it makes no difference whose ring holds them.

Not covered: polling rings, registered files, rings without the submission array.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import threading
from typing import TYPE_CHECKING, Final

import attrs

from mmsim.conformance import native
from mmsim.syscalls import PROT_READ, PROT_WRITE

if TYPE_CHECKING:
    from collections.abc import Callable

ENTRIES: Final = 8
_PARAMS: Final = struct.Struct("=7I3I 10I 10I")
_SQE: Final = struct.Struct("=BBHiQQIIQHHiQQ")
_CQE: Final = struct.Struct("=QiI")
_SQ_OFFSET, _CQ_OFFSET, _SQES_OFFSET = 0, 0x8000000, 0x10000000
_REGISTER_BUFFERS, _UNREGISTER_BUFFERS = 0, 1
_READ_FIXED: Final = 4
_GETEVENTS: Final = 1
_MAP_SHARED_POPULATE: Final = 0x8001


@attrs.frozen
class RealBuffer:
    """A registered buffer: the ring that holds it, in the process that registered it, and where it is or was mapped."""

    ring: int
    address: int
    length: int


class Ring:
    """One ring.  `keep` may move its descriptor.  `native.Impossible` where there can be none."""

    def __init__(self, keep: Callable[[int], int] = lambda descriptor: descriptor) -> None:
        params = ctypes.create_string_buffer(_PARAMS.size)
        made = native.syscall(native.SYS_IO_URING_SETUP, ENTRIES, native.address_of(params))
        if made < 0:
            msg = f"registered buffers need io_uring, which is refused here ({os.strerror(-made)})"
            raise native.Impossible(msg)
        self.fd = keep(made)
        sq_entries, cq_entries, *_ = values = _PARAMS.unpack(params.raw)
        _, self._sq_tail, self._sq_mask, *_ = values[10:20]
        sq_array = values[16]
        self._cq_head, self._cq_tail, self._cq_mask, _, _, self._cqes, *_ = values[20:30]
        self._changed = threading.Condition()
        self._asking = False
        self._results: dict[int, int] = {}
        self._submitted = 0
        self._maps = [
            (self._map(length, offset), length)
            for length, offset in (
                (sq_array + 4 * sq_entries, _SQ_OFFSET),
                (self._cqes + _CQE.size * cq_entries, _CQ_OFFSET),
                (_SQE.size * sq_entries, _SQES_OFFSET),
            )
        ]
        (self._sq, _), (self._cq, _), (self._sqes, _) = self._maps
        for slot in range(sq_entries):
            self._word(self._sq, sq_array + 4 * slot).value = slot

    def register(self, address: int, length: int) -> int:
        """IORING_REGISTER_BUFFERS of one buffer: 0 or a negative errno."""
        vector = native.iovec(address, length)
        return native.syscall(native.SYS_IO_URING_REGISTER, self.fd, _REGISTER_BUFFERS, native.address_of(vector), 1)

    def unregister(self) -> int:
        """IORING_UNREGISTER_BUFFERS: 0 or a negative errno."""
        return native.syscall(native.SYS_IO_URING_REGISTER, self.fd, _UNREGISTER_BUFFERS, 0, 0)

    def read_fixed(self, fd: int, address: int, length: int, offset: int) -> int:
        """IORING_OP_READ_FIXED into the buffer, waited for: the bytes read or a negative errno."""
        with self._changed:
            self._submitted += 1
            number = self._submitted
            tail = self._word(self._sq, self._sq_tail)
            slot = tail.value & self._word(self._sq, self._sq_mask).value
            sqe = _SQE.pack(_READ_FIXED, 0, 0, fd, offset, address, length, 0, number, 0, 0, 0, 0, 0)
            ctypes.memmove(self._sqes + slot * _SQE.size, sqe, _SQE.size)
            tail.value += 1  # x86 shows stores in their order
            answer = native.syscall(native.SYS_IO_URING_ENTER, self.fd, 1, 0, 0, 0, 0)
        return answer if answer < 0 else self._wait_for(number)

    def _wait_for(self, number: int) -> int:
        """The result of a request.  One waiter asks the kernel for all, for an event wakes only one of them."""
        while True:
            with self._changed:
                while number not in self._results and self._asking:
                    self._changed.wait()
                if number in self._results:
                    return self._results.pop(number)
                self._asking = True
            answer = native.syscall(native.SYS_IO_URING_ENTER, self.fd, 0, 1, _GETEVENTS, 0, 0)
            with self._changed:
                self._asking = False
                self._reap()
                self._changed.notify_all()
            if answer < 0 and answer != -errno.EINTR:
                return answer

    def close(self) -> None:
        """Unmap and close.  The kernel lets go of the buffers a moment later."""
        for address, length in self._maps:
            native.syscall(native.SYS_MUNMAP, address, length)
        os.close(self.fd)

    def _reap(self) -> None:
        head, tail = self._word(self._cq, self._cq_head), self._word(self._cq, self._cq_tail)
        while head.value != tail.value:
            slot = head.value & self._word(self._cq, self._cq_mask).value
            number, result, _ = _CQE.unpack(ctypes.string_at(self._cq + self._cqes + slot * _CQE.size, _CQE.size))
            self._results[number] = result
            head.value += 1

    def _map(self, length: int, offset: int) -> int:
        address = native.syscall(
            native.SYS_MMAP, 0, length, PROT_READ | PROT_WRITE, _MAP_SHARED_POPULATE, self.fd, offset
        )
        if address < 0:
            msg = f"registered buffers need io_uring, whose rings cannot be mapped here ({os.strerror(-address)})"
            raise native.Impossible(msg)
        return address

    @staticmethod
    def _word(base: int, offset: int) -> ctypes.c_uint32:
        return ctypes.c_uint32.from_address(base + offset)
