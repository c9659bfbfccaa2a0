"""The tested process: runs its threads of the scenario, run after run, as the controller tells it.

It is forked before setup, so processes other than the first inherit nothing that setup maps; the descriptors of setup
reach them by SCM_RIGHTS, at the same numbers.  It lives on between runs (its mappings and descriptors are cleared)
unless the scenario makes it exit.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import random
import signal
import socket
import sys
import threading
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from mmsim.conformance import native
from mmsim.conformance.fuse import LARGEST_IO
from mmsim.conformance.lane import FINISHED, READ, SLOTS, SUBMITTED, SharedLane, receive, send
from mmsim.conformance.real import FIRST, FIRST_OF_HARNESS, Arena, RealIo, RealSyscalls
from mmsim.conformance.stir import Stirrer, Timing
from mmsim.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from mmsim.conformance.native import Memory
    from mmsim.conformance.stir import Cast, Place
    from mmsim.scenario import Scenario
    from mmsim.syscalls import Device


def drive(coroutine: Coroutine[Any, Any, object]) -> object:
    """Run a thread of a scenario to its end; on a real kernel it never yields."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    frame = getattr(coroutine, "cr_frame", None)
    where = f" (line {frame.f_lineno} of {Path(frame.f_code.co_filename).name})" if frame else ""
    msg = f"it awaits something that is no system call{where}"
    coroutine.close()
    raise UserError(msg)


def blame(error: BaseException, scenario_file: str) -> str:
    """What to say of an exception that a scenario's thread raised: one sentence, with the scenario's line."""
    if isinstance(error, UserError):
        return str(error)
    lines = [entry for entry in traceback.extract_tb(error.__traceback__) if entry.filename == scenario_file]
    where = f" at line {lines[-1].lineno} of {Path(scenario_file).name}" if lines else ""
    return f"{type(error).__name__}{where}: {error}"


class TestedProcess:
    """The `Host` of its threads' system calls."""

    __test__ = False  # it is no test, whatever pytest may think of its name

    def __init__(
        self, number: int, scenario: Scenario, cast: Cast, shared_lane: SharedLane, control: socket.socket, lane: int
    ) -> None:
        self.arena = Arena()
        self.memory: Memory
        self._number = number
        self._scenario = scenario
        self._file = scenario.setup.__code__.co_filename
        self._cast = cast
        self._lane = shared_lane
        self._lane_number = lane
        self._control = control
        self._shared: object = None
        self._slots = iter(range(0))
        self._in_flight: list[RealIo] = []
        self._children: list[int] = []
        self._reader = -1
        self._writers: dict[int, int] = {}
        self._controller = os.getppid()
        self._timing = Timing()
        self._cpus = tuple(sorted(os.sched_getaffinity(0)))

    def serve(self, memory: Memory, reads: Path | None, writes: Path | None) -> NoReturn:
        """Open the devices, then perform runs until the controller closes its end."""
        try:
            native.prctl(native.PR_SET_PDEATHSIG, signal.SIGKILL)
            native.prctl(native.PR_SET_TIMERSLACK, 1)
            sys.setswitchinterval(1e-4)
            warnings.filterwarnings("ignore", category=DeprecationWarning)  # fork() beside threads, which is the point
            self.memory = memory
            if reads is not None and writes is not None:
                self._open(reads, writes)
            send(self._control, "clean")
            while True:
                message, _ = receive(self._control)
                self._run(message[1])
        except EOFError:
            os._exit(0)
        except BaseException as error:  # noqa: BLE001  (whatever it is, the controller reports it)
            self._complain(error)
            os._exit(1)

    def _open(self, reads: Path, writes: Path) -> None:
        self._reader = move_high(os.open(reads / "0", os.O_RDONLY | os.O_CLOEXEC))
        for slot in range(self._number * SLOTS, (self._number + 1) * SLOTS):
            self._writers[slot] = move_high(os.open(writes / str(slot), os.O_WRONLY | os.O_CLOEXEC))
        os.write(self._writers[self._number * SLOTS], b"\0")  # what a first write asks besides is asked now

    def _run(self, timing: Timing) -> None:
        self._timing = timing
        self._slots = iter(self._share_of_slots(0))
        places = self._cast.processes[self._number]
        if self._number == 0:
            self._shared = drive(self._scenario.setup(RealSyscalls(self, "setup")))
            if len(self._cast.processes) > 1:
                numbers = tuple(fd for fd in range(FIRST, FIRST_OF_HARNESS) if _is_open(fd))
                send(self._control, "shared", self._pickled_shared(), numbers, descriptors=numbers)
        else:
            (_, shared, numbers), descriptors = receive(self._control)
            self._inherit(numbers, descriptors)
            self._shared = pickle.loads(shared)  # noqa: S301  (from the process that ran setup)
        start = threading.Event()
        threads = [threading.Thread(target=self._thread, args=(place, start), daemon=True) for place in places]
        for thread in threads:
            thread.start()
        send(self._control, "ready")
        receive(self._control)
        start.set()
        receive(self._control)  # "end": until then nothing is unmapped or closed, as a model's process is still there
        for thread in [*threads, *(io.thread for io in self._in_flight if io.thread)]:
            thread.join()
        for child in self._children:
            os.waitpid(child, 0)
        self._in_flight, self._children, self._shared = [], [], None
        self.arena.clear()
        send(self._control, "clean")

    def _thread(self, place: Place, start: threading.Event) -> None:
        stirrer = self._stirrer(place.name)
        stirrer.start()
        calls = RealSyscalls(self, place.name, place.index, stirrer)
        start.wait()
        self._perform(place.name, calls, place.function)

    def _stirrer(self, name: str) -> Stirrer:
        draw = random.Random(f"{self._timing.seed}/{name}")
        return Stirrer(self._timing, draw, self._cpus)

    def _perform(self, name: str, calls: RealSyscalls, function: Callable[..., Coroutine[Any, Any, object]]) -> None:
        """Run one thread and report what it returned; make good its exit()."""
        try:
            outcome = drive(function(calls, self._shared))
            hash(outcome)
            message = pickle.dumps(outcome)
        except BaseException as error:  # noqa: BLE001  (a scenario may raise anything)
            self._complain(error, name)
            return
        if calls.exiting:
            self._before_exit(name)
            send(self._control, "done", name, message, True)
            os._exit(0)
        send(self._control, "done", name, message, False)

    def _before_exit(self, name: str) -> None:
        """A device that has not yet looked at a write takes it now: Linux would let the dying process withdraw it."""
        if len(self._cast.processes[self._number]) > 1 and threading.current_thread() is not threading.main_thread():
            msg = f"thread {name} calls sys.exit() in a process of several threads"
            raise UserError(msg)
        writes = [io.slot for io in self._in_flight if io.slot in self._writers]
        send(self._control, "exiting", tuple(writes))
        for slot in writes:
            while (state := self._lane.state(slot)) not in {READ, FINISHED}:
                self._lane.wait_while(slot, state)

    def submit(self, device: Device, index: int, address: int, data: bytes | int) -> RealIo | int:
        """See `Host`."""
        number = self._cast.device(device, index)
        length = data if isinstance(data, int) else len(data)
        slot = next(self._slots, None)
        if number is None or self._reader < 0:
            msg = f"device {device.name} is not among the scenario's devices"
            raise UserError(msg)
        if slot is None or length > LARGEST_IO:
            msg = f"on a real kernel a process may submit {SLOTS} I/Os of up to {LARGEST_IO >> 10} KiB in one run"
            raise UserError(msg)
        io = RealIo(slot)
        if isinstance(data, int):
            arguments = (native.SYS_PWRITE64, self._writers[slot], address, length, 0)
            send(self._control, "write", slot, number)
        else:
            self._lane.set_data(slot, data)
            offset = (self._lane_number << 40) + slot * LARGEST_IO
            arguments = (native.SYS_PREAD64, self._reader, address, length, offset)
        io.thread = threading.Thread(target=self._transfer, args=(io, arguments), daemon=True)
        io.thread.start()
        while self._lane.state(slot) == SUBMITTED:
            self._lane.wait_while(slot, SUBMITTED)
        if io.result is not None:  # over already: answered, or never with the device at all
            io.thread.join()
            send(self._control, "over", slot)
            if io.result < 0:
                return io.result
        self._in_flight.append(io)
        return io

    def _transfer(self, io: RealIo, arguments: tuple[int, ...]) -> None:
        io.result = native.syscall(*arguments)
        self._lane.set_state(io.slot, FINISHED)

    def wait_for(self, io: RealIo, thread: str) -> int:
        """See `Host`."""
        if io.result is None:
            send(self._control, "waits", thread, io.slot)
        if io.thread is not None:
            io.thread.join()
        return -1 if io.result is None else io.result

    def contents(self, device: Device, index: int) -> bytes:
        """See `Host`."""
        number = self._cast.device(device, index)
        return b"" if number is None else self._lane.contents(number)

    def fork(self, child: Callable[..., Coroutine[Any, Any, object]]) -> int:
        """See `Host`.  The child stays until the run is over, as a model's process does, unless it exits."""
        if child not in self._cast.children:
            msg = f"{child.__name__} is forked but not listed in the scenario's children"
            raise UserError(msg)
        send(self._control, "forks", child.__name__)
        run = self._lane.run
        pid = os.fork()
        if pid:
            send(self._control, "forked", pid)
            self._children.append(pid)
            return pid
        try:
            number = self._cast.children.index(child)
            self._slots = iter(self._share_of_slots(number + 1))
            self._in_flight, self._children = [], []
            calls = RealSyscalls(self, child.__name__, 0, self._stirrer(child.__name__))
            self._perform(child.__name__, calls, child)
            parents = {os.getppid(), self._controller}
            while not self._lane.wait_for_end(run) and os.getppid() in parents:
                pass
        finally:
            os._exit(0)

    def _share_of_slots(self, share: int) -> range:
        each = SLOTS // (1 + len(self._cast.children))
        first = self._number * SLOTS + share * each
        return range(first, first + each)

    def _pickled_shared(self) -> bytes:
        try:
            return pickle.dumps(self._shared)
        except Exception as error:  # noqa: BLE001  (whatever pickle finds wrong with it)
            msg = f"what setup returns cannot be handed to another process ({error})"
            raise UserError(msg) from None

    @staticmethod
    def _inherit(numbers: tuple[int, ...], descriptors: tuple[int, ...]) -> None:
        """Put the descriptors of setup at their own numbers, through numbers that none of them has."""
        high = [move_high(descriptor) for descriptor in descriptors]
        for number, descriptor in zip(numbers, high, strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)

    def _complain(self, error: BaseException, name: str = "") -> None:
        sentence = blame(error, self._file)
        send(self._control, "error", f"{name}: {sentence}" if name else sentence)


def move_high(descriptor: int) -> int:
    """Move a descriptor out of the scenario's way."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, FIRST_OF_HARNESS)
    os.close(descriptor)
    return moved


def _is_open(descriptor: int) -> bool:
    try:
        fcntl.fcntl(descriptor, fcntl.F_GETFD)
    except OSError:
        return False
    return True
