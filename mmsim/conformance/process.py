"""The tested process: runs its threads of the scenario, run after run, as the controller tells it.

It is forked before setup, so processes other than the first inherit nothing that setup maps; the descriptors of setup
reach them by SCM_RIGHTS, at the same numbers.  It lives on between runs (its mappings and descriptors are cleared)
unless the scenario makes it exit.
"""

from __future__ import annotations

import errno
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
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from mmsim.conformance import loop, native
from mmsim.conformance.entry import RealSyscalls
from mmsim.conformance.fuse import LARGEST_IO
from mmsim.conformance.lane import FINISHED, READ, SLOTS, SUBMITTED, SharedLane, receive, send
from mmsim.conformance.needs import verbs_of
from mmsim.conformance.real import FIRST, FIRST_OF_HARNESS, Arena, RealIo
from mmsim.conformance.resources import Resources, open_memory
from mmsim.conformance.stir import Stirrer, Timing
from mmsim.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from mmsim.conformance.mounts import Mounted
    from mmsim.conformance.native import Memory
    from mmsim.conformance.real import ThreadFunction
    from mmsim.conformance.stir import Cast, Place
    from mmsim.conformance.uring import RealBuffer
    from mmsim.scenario import Scenario
    from mmsim.syscalls import Device, Mount

R = TypeVar("R")

LOOP: Final = "loop"
LAST_DESCRIPTOR: Final = (1 << 20) - 1
NOBODY: Final = 0x7FFFFFFF
"""The number of no process: Linux gives out none beyond 1 << 22."""


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
        self,
        number: int,
        scenario: Scenario,
        cast: Cast,
        shared_lane: SharedLane,
        control: socket.socket,
        lane: int,
        mounts: dict[str, Mounted],
    ) -> None:
        self.arena = Arena()
        self.memory: Memory
        self.resources: Resources
        self._verbs = verbs_of(scenario)
        self._mounts = mounts
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
        self._readers: dict[str, int] = {}
        self._writers: dict[int, int] = {}
        self._controller = os.getppid()
        self._timing = Timing()
        self._cpus = tuple(sorted(os.sched_getaffinity(0)))

    def serve(self, memory: Memory, reads: Path | None, writes: Path | None) -> NoReturn:
        """Open the devices, then perform runs until the controller closes its end."""
        try:
            native.prctl(native.PR_SET_PDEATHSIG, signal.SIGKILL)
            native.prctl(native.PR_SET_TIMERSLACK, 1)
            with suppress(OSError):  # no Yama, nothing to allow
                native.prctl(native.PR_SET_PTRACER, native.PR_SET_PTRACER_ANY)
            self._lane.set_pid(self._number, os.getpid())
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
        reader = move_high(os.open(reads / "0", os.O_RDONLY | os.O_CLOEXEC))
        transports = {device.transport for device, _ in self._cast.devices}
        self._readers = dict.fromkeys(transports - {LOOP}, reader)
        if LOOP in transports:
            device, _ = loop.attach(reader, os.O_RDONLY | os.O_DIRECT)
            self._readers[LOOP] = move_high(device)
        for slot in range(self._number * SLOTS, (self._number + 1) * SLOTS):
            self._writers[slot] = move_high(os.open(writes / str(slot), os.O_WRONLY | os.O_CLOEXEC))
        os.write(self._writers[self._number * SLOTS], b"\0")  # what a first write asks besides is asked now

    def _run(self, timing: Timing) -> None:
        self._timing = timing
        self._slots = iter(self._share_of_slots(0))
        places = self._cast.processes[self._number]
        self.resources = self._open_resources()
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
        self.resources.close()
        send(self._control, "clean")

    def _open_resources(self) -> Resources:
        resources = Resources(self._verbs, move_high)
        if self._verbs & {"mem_read", "mem_write"}:
            resources.open_memories([self._lane.pid(number) for number in range(len(self._cast.processes))], move_high)
        return resources

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

    def submit(
        self, device: Device, index: int, address: int, data: bytes | int, buffer: RealBuffer | None = None
    ) -> RealIo | int:
        """See `Host`."""
        number = self._cast.device(device, index)
        length = data if isinstance(data, int) else len(data)
        slot = next(self._slots, None)
        if number is None or not self._readers:
            msg = f"device {device.name} is not among the scenario's devices"
            raise UserError(msg)
        if slot is None or length > LARGEST_IO:
            msg = f"on a real kernel a process may submit {SLOTS} I/Os of up to {LARGEST_IO >> 10} KiB in one run"
            raise UserError(msg)
        io = RealIo(slot)
        transfer: Callable[[], int]
        if isinstance(data, int):
            transfer = partial(native.syscall, native.SYS_PWRITE64, self._writers[slot], address, length, 0)
            send(self._control, "write", slot, number)
        else:
            self._lane.set_data(slot, data)
            self._lane.expect(slot, length)
            where = self._readers[device.transport], address, length, (self._lane_number << 40) + slot * LARGEST_IO
            if buffer is None:
                transfer = partial(native.syscall, native.SYS_PREAD64, *where)
            else:
                transfer = partial(self.resources.rings[buffer.ring].read_fixed, *where)
        io.thread = threading.Thread(target=self._transfer, args=(io, transfer), daemon=True)
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

    def _transfer(self, io: RealIo, transfer: Callable[[], int]) -> None:
        io.result = transfer()
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

    def pid_of(self, thread: ThreadFunction | None) -> int:
        """See `Host`.  A child that is not there yet, or no more, has the number of no process."""
        if thread is None:
            return os.getpid()
        for number, places in enumerate(self._cast.processes):
            if any(place.function is thread for place in places):
                return self._lane.pid(number)
        if thread in self._cast.children:
            return self._lane.pid(self._number_of(thread)) or NOBODY
        msg = f"{thread.__name__}: no thread or child of the scenario has that name"
        raise UserError(msg)

    def write_memory(self, pid: int, address: int, data: bytes) -> int:
        """See `Host`."""
        return self._on_memory(pid, lambda fd: os.pwrite(fd, data, address))

    def read_memory(self, pid: int, address: int, length: int) -> bytes | int:
        """See `Host`."""
        return self._on_memory(pid, lambda fd: os.pread(fd, length, address))

    def _on_memory(self, pid: int, access: Callable[[int], R]) -> R | int:
        opened = self.resources.memories.get(pid)

        def anew() -> R | int:
            try:
                return access(open_memory(pid))
            except OSError as error:
                return 0 if error.errno in {errno.ENOENT, errno.ESRCH} else -(error.errno or errno.EIO)

        if opened is None:
            return apart(anew)
        try:
            return access(opened)
        except OSError as error:
            return -(error.errno or errno.EIO)

    def directory(self, mount: Mount) -> str:
        """See `Host`."""
        if mount.name not in self._mounts:
            msg = f"mount {mount.name} is not among the scenario's mounts"
            raise UserError(msg)
        return str(self._mounts[mount.name].directory)

    def path(self, mount: Mount, name: str) -> str:
        """See `Host`."""
        return f"{self.directory(mount)}/{self._file_name(name)}"

    def disk_contents(self, mount: Mount, name: str) -> bytes:
        """See `Host`."""
        self.directory(mount)
        mounted = self._mounts[mount.name]
        if mounted.image is None:
            msg = f"mount {mount.name} is a {mount.kind}, which has no disk"
            raise UserError(msg)
        return apart(lambda: mounted.disk_contents(self._file_name(name), str(threading.get_native_id())))

    def _file_name(self, name: str) -> str:
        if not name or "/" in name or name in {".", ".."}:
            msg = f"{name!r} is no name of a file in the root directory of a mount"
            raise UserError(msg)
        return f"{self._lane.run}-{name}"  # a disk may still show a file that an earlier run removed

    def _number_of(self, child: ThreadFunction) -> int:
        return len(self._cast.processes) + self._cast.children.index(child)

    def fork(self, child: ThreadFunction) -> int:
        """See `Host`.  The child stays until the run is over, as a model's process does, unless it exits."""
        if child not in self._cast.children:
            msg = f"{child.__name__} is forked but not listed in the scenario's children"
            raise UserError(msg)
        send(self._control, "forks", child.__name__)
        run = self._lane.run
        pid = os.fork()
        if pid:
            self._lane.set_pid(self._number_of(child), pid)
            send(self._control, "forked", pid)
            self._children.append(pid)
            return pid
        try:
            number = self._cast.children.index(child)
            self._slots = iter(self._share_of_slots(number + 1))
            self._in_flight, self._children = [], []
            self._lane.set_pid(self._number_of(child), os.getpid())
            self.resources = self._open_resources()
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


def apart(function: Callable[[], R]) -> R:
    """Call it in a thread with a table of descriptors of its own, so that no thread of the scenario sees what it opens.

    The table begins as a copy, which would keep files open that a scenario closes, so it is emptied first.
    """
    results: list[R] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            native.unshare(native.CLONE_FILES)
            native.close_all(FIRST, LAST_DESCRIPTOR)
            results.append(function())
        except BaseException as error:  # noqa: BLE001  (raised again in the calling thread)
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


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
