"""What the processes of one lane share: an anonymous shared mapping, and messages over a socket pair.

A lane is one instance of the scenario's processes; several run at once, so that one which waits 160 ms for
F_SEAL_WRITE to give up does not hold up the others.  The mapping holds, per I/O in flight (a *slot*), a word that is
both its state and the futex its submitter sleeps on, and its bytes: what a read will bring, or what a write left.
"""

from __future__ import annotations

import array
import mmap
import pickle
import random
import socket
import struct
from typing import TYPE_CHECKING, Any, Final

import attrs

from mmsim.conformance import native
from mmsim.conformance.fuse import LARGEST_IO
from mmsim.conformance.stir import Timing
from mmsim.errors import UserError

if TYPE_CHECKING:
    from mmsim.conformance.fuse import Connection, Request
    from mmsim.conformance.mounts import Mounted

SLOTS: Final = 16
"""I/Os that one process may submit in one run."""
LARGEST_LANE: Final = 24
"""Processes in one lane."""
LARGEST_MESSAGE: Final = 1 << 17

SUBMITTED, SEEN, READ, FINISHED = range(4)  # of a slot: not yet with the device, with it, its bytes taken, done

_RUN: Final = 0
_STATES: Final = 64
_EXPECTED: Final = 2048
_DEVICES: Final = 4096
_PIDS: Final = 5120
_DATA: Final = 8192
_LARGEST_NUMBER: Final = (_DATA - _PIDS) // 4


class SharedLane:
    """The mapping."""

    def __init__(self, processes: int) -> None:
        self._map = mmap.mmap(-1, _DATA + processes * SLOTS * LARGEST_IO)
        self._address = native.address_of(self._map)

    def state(self, slot: int) -> int:
        """The slot's word."""
        return self._word(_STATES + 4 * slot)

    def set_state(self, slot: int, state: int) -> None:
        """Change the slot's word and wake its submitter."""
        self._set(_STATES + 4 * slot, state)

    def wait_while(self, slot: int, state: int) -> None:
        """Sleep (for a second at most) while the slot's word is this."""
        native.futex_wait(self._address + _STATES + 4 * slot, state, 1.0)

    def expect(self, slot: int, length: int) -> None:
        """A read of so many bytes is about to be made from this slot."""
        struct.pack_into("<I", self._map, _EXPECTED + 4 * slot, length)

    def expected(self, slot: int) -> int:
        """The bytes of the read from this slot; 0 if there is none."""
        return self._word(_EXPECTED + 4 * slot)

    def pid(self, number: int) -> int:
        """The process of this number (children come after those there are from the start); 0 if there is none."""
        return self._word(_PIDS + 4 * number)

    def set_pid(self, number: int, pid: int) -> None:
        """Let the others know it."""
        if number >= _LARGEST_NUMBER:
            msg = f"on a real kernel a scenario may have {_LARGEST_NUMBER} processes with their children"
            raise UserError(msg)
        struct.pack_into("<I", self._map, _PIDS + 4 * number, pid)

    def data(self, slot: int, length: int) -> bytes:
        """The slot's bytes."""
        start = _DATA + slot * LARGEST_IO
        return self._map[start : start + length]

    def set_data(self, slot: int, data: bytes) -> None:
        """Replace the slot's bytes."""
        start = _DATA + slot * LARGEST_IO
        self._map[start : start + len(data)] = data

    def wrote(self, device: int, slot: int, length: int) -> None:
        """The last write to the device was this slot's."""
        struct.pack_into("<II", self._map, _DEVICES + 8 * device, slot + 1, length)

    def contents(self, device: int) -> bytes:
        """What the last write left on the device; nothing if there was none."""
        slot, length = struct.unpack_from("<II", self._map, _DEVICES + 8 * device)
        return self.data(slot - 1, length) if slot else b""

    def begin(self) -> None:
        """A new run: nothing in flight, nothing on the devices."""
        self._map[_STATES:_PIDS] = bytes(_PIDS - _STATES)

    def end(self) -> None:
        """Tell forked children that the run is over."""
        self._set(_RUN, self.run + 1)

    @property
    def run(self) -> int:
        """The number of the present run."""
        return self._word(_RUN)

    def wait_for_end(self, run: int) -> bool:
        """Sleep until this run is over, a second at most; whether it is."""
        native.futex_wait(self._address + _RUN, run, 1.0)
        return self.run != run

    def _word(self, offset: int) -> int:
        value: int = struct.unpack_from("<I", self._map, offset)[0]
        return value

    def _set(self, offset: int, value: int) -> None:
        struct.pack_into("<I", self._map, offset, value)
        native.futex_wake(self._address + offset)


@attrs.define(eq=False)
class Tested:
    """The controller's side of one tested process."""

    number: int
    pid: int
    control: socket.socket
    exiting: bool = False


@attrs.define
class Pending:
    """An I/O in flight.  Without a request it is a write that still lies in the queue."""

    slot: int
    due: float
    held: bool
    request: Request | None = None


@attrs.define(eq=False)
class Lane:
    """One instance of the scenario's processes, and the run it is in."""

    number: int
    shared: SharedLane
    writes: Connection | None
    mounts: dict[str, Mounted]
    timing: Timing = attrs.field(factory=Timing)
    draw: random.Random = attrs.field(factory=random.Random)
    processes: dict[int, Tested] = attrs.field(factory=dict)
    phase: str = "cleaning"
    awaited: set[int] = attrs.field(factory=set)
    """The processes that have yet to say "ready" or "clean"."""
    threads: dict[str, int | None] = attrs.field(factory=dict)
    """Every unfinished thread, and the slot that it waits for."""
    outcomes: dict[str, bytes] = attrs.field(factory=dict)
    announced: dict[int, int] = attrs.field(factory=dict)
    """Writes that were announced and not yet received: the slot, and the device's number."""
    devices: dict[int, int] = attrs.field(factory=dict)
    pending: dict[int, Pending] = attrs.field(factory=dict)
    orphans: list[int] = attrs.field(factory=list)
    deadline: float = 0.0


def send(to: socket.socket, *message: Any, descriptors: tuple[int, ...] = ()) -> None:
    """One message, one packet; the descriptors travel along."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    data = pickle.dumps(message)
    if len(data) > LARGEST_MESSAGE:
        msg = f"on a real kernel what setup or a thread returns may have {LARGEST_MESSAGE >> 10} KiB"
        raise UserError(msg)
    to.sendmsg([data], rights)


def receive(at: socket.socket) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    """The next message and its descriptors.  EOFError when the other end is closed."""
    data, descriptors, *_ = socket.recv_fds(at, LARGEST_MESSAGE, 253)
    if not data:
        raise EOFError
    message: tuple[Any, ...] = pickle.loads(data)  # noqa: S301  (from a process that this one forked)
    return message, tuple(descriptors)
