"""Programs performed by the running kernel: raw system calls, and loads and stores that survive their faults.

A program of one process runs in the worker itself, whose arena and descriptors (`FIRST` and up) are cleared after it.
One that forks, exits or passes a descriptor has processes of its own, each of which does one call after the other as it
is told.  Each of them has a socket of its own on which it receives descriptors, and which all can send to.

The tmpfs is mounted in a mount namespace that ends with the worker, so nothing is left whatever happens to it.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn

from mmsim.conformance import native
from mmsim.conformance.lane import receive, send
from mmsim.conformance.probe import enter_private_mounts
from mmsim.conformance.process import move_high
from mmsim.conformance.real import ARENA, FIRST, FIRST_OF_HARNESS
from mmsim.conformance.sequential.program import (
    ALONE,
    ARENA_LENGTH,
    FILES,
    LARGEST,
    PROCESSES,
    Answer,
    Call,
    Program,
    has_processes,
)
from mmsim.errors import UserError
from mmsim.syscalls import PAGE_SIZE

PATIENCE_S: Final = 20.0
"""How long one call may take."""
HEAVIEST: Final = 16
"""Pages of answers after which a message ends: half of what it may have."""
HUGE: Final = Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled")


def writes_by_page() -> bool:
    """Whether a write is held against F_SEAL_GROW page by page: not so where memfds may have huge pages."""
    return not HUGE.exists() or "[never]" in HUGE.read_text()


class LinuxMachine:
    """The calls of the process that it is in."""

    def __init__(self, folder: Path) -> None:
        self._memory = native.fault_safe_memory()
        self._call = native.quick_syscall()
        self._buffer = ctypes.create_string_buffer(LARGEST)
        self._into = native.address_of(self._buffer)
        self._name = ctypes.create_string_buffer(b"file")
        self._paths = {name: ctypes.create_string_buffer(bytes(folder / name)) for name in FILES}
        self._filled: dict[tuple[int, int], Any] = {}
        self._verbs: dict[str, Callable[..., Answer]] = {
            "memfd_create": self._memfd_create,
            "open": self._open,
            "reopen": self._reopen,
            "read": self._reads(native.SYS_READ),
            "pread": self._reads(native.SYS_PREAD64),
            "write": self._writes(native.SYS_WRITE),
            "pwrite": self._writes(native.SYS_PWRITE64),
            "mmap": self._mmap,
            "load": self._load,
            "store": self._store,
            "add_seals": self._add_seals,
            "get_seals": self._get_seals,
            "close": self._plain(native.SYS_CLOSE),
            "dup": self._plain(native.SYS_DUP),
            "ftruncate": self._plain(native.SYS_FTRUNCATE),
            "fallocate": self._plain(native.SYS_FALLOCATE),
            "fchmod": self._plain(native.SYS_FCHMOD),
            "munmap": self._plain(native.SYS_MUNMAP),
            "mprotect": self._plain(native.SYS_MPROTECT),
            "mremap": self._plain(native.SYS_MREMAP),
            "madvise": self._plain(native.SYS_MADVISE),
        }

    def perform(self, call: Call) -> Answer:
        """The kernel's answer."""
        return self._verbs[call.verb](*call.arguments)

    def clear(self) -> None:
        """Leave nothing mapped, open or named."""
        self._call(native.SYS_MUNMAP, ARENA, ARENA_LENGTH)
        self._call(native.SYS_CLOSE_RANGE, FIRST, FIRST_OF_HARNESS - 1)

    def unlink(self) -> None:
        """Take the files of the tmpfs away."""
        for path in self._paths.values():
            self._call(native.SYS_UNLINK, native.address_of(path))

    def _plain(self, number: int) -> Callable[..., Answer]:
        call = self._call

        def plain(*arguments: int) -> int:
            return call(number, *arguments)

        return plain

    def _memfd_create(self, _name: str, flags: int) -> int:
        return self._call(native.SYS_MEMFD_CREATE, native.address_of(self._name), flags)

    def _open(self, name: str, flags: int) -> int:
        return self._call(native.SYS_OPEN, native.address_of(self._paths[name]), flags, 0o777)

    def _reopen(self, fd: int, flags: int) -> int:
        path = ctypes.create_string_buffer(b"/proc/self/fd/%d" % fd)
        return self._call(native.SYS_OPEN, native.address_of(path), flags, 0)

    def _reads(self, number: int) -> Callable[..., Answer]:
        def reads(fd: int, length: int, *offset: int) -> Answer:
            got = self._call(number, fd, self._into, length, *offset)
            return got if got < 0 else ctypes.string_at(self._into, got)

        return reads

    def _writes(self, number: int) -> Callable[..., Answer]:
        def writes(fd: int, letter: int, length: int, *offset: int) -> Answer:
            return self._call(number, fd, self._filled_with(letter, length), length, *offset)

        return writes

    def _filled_with(self, letter: int, length: int) -> int:
        """The address of so many of a letter."""
        known = self._filled.get((letter, length))
        if known is None:
            known = self._filled[letter, length] = ctypes.create_string_buffer(bytes((letter,)) * length, length + 1)
        return native.address_of(known)

    def _mmap(self, fd: int, prot: int, flags: int, length: int, offset: int, address: int) -> int:
        return self._call(native.SYS_MMAP, address, length, prot, flags, fd, offset)

    def _load(self, address: int, length: int) -> Answer:
        fault = self._memory.copy(self._into, address, length)
        return signal.Signals(fault).name if fault else ctypes.string_at(self._into, length)

    def _store(self, address: int, letter: int, length: int) -> Answer:
        fault = self._memory.copy(address, self._filled_with(letter, length), length)
        return signal.Signals(fault).name if fault else 0

    def _add_seals(self, fd: int, seals: int) -> int:
        return self._call(native.SYS_FCNTL, fd, native.F_ADD_SEALS, seals)

    def _get_seals(self, fd: int) -> int:
        return self._call(native.SYS_FCNTL, fd, native.F_GET_SEALS)


class Linux:
    """Performs programs, one after the other."""

    def __init__(self, scratch: Path) -> None:
        native.prctl(native.PR_SET_CHILD_SUBREAPER, 1)
        enter_private_mounts()
        folder = scratch / "tmpfs"
        folder.mkdir()
        try:
            native.mount("mmsim", str(folder), "tmpfs", native.MS_NOSUID | native.MS_NODEV, "size=16m,huge=never")
        except OSError as error:
            msg = f"the programs need a tmpfs of their own, which is refused here ({os.strerror(error.errno or 0)})"
            raise native.Impossible(msg) from None
        os.umask(0)
        self._machine = LinuxMachine(folder)
        self._sockets = [_socket_pair() for _ in range(PROCESSES)]
        self._passing = [_socket_pair() for _ in range(PROCESSES)]
        self._machine.clear()

    def perform(self, program: Program) -> tuple[Answer, ...]:
        """The kernel's answer to each call.  UserError if one never comes."""
        if has_processes(program):
            return self._in_processes(program)
        perform = self._machine.perform
        try:
            return tuple(None if call.process else perform(call) for call in program)
        finally:
            self._machine.clear()
            if any(call.verb == "open" for call in program):
                self._machine.unlink()

    def _in_processes(self, program: Program) -> tuple[Answer, ...]:
        pids = [self._fork(0)]
        alive = [True]
        answers: list[Answer] = []
        try:
            for run in _runs(program):
                process, verb = run[0].process, run[0].verb
                there = all(each < len(pids) and alive[each] for each in run[0].takes_part)
                if not there or (verb == "fork" and len(pids) == PROCESSES):
                    answers += [None] * len(run)
                    continue
                told = self._ask(process, run, len(pids))
                if verb == "pass_fd" and told[0] >= 0:
                    to = run[0].arguments[1]
                    told = self._ask(to, (Call(to, "receive_fd"),), len(pids))
                if verb == "fork" and told[0] > 0:
                    pids.append(told[0])
                    alive.append(True)
                    told = [len(pids) - 1]
                if verb == "exit":
                    alive[process] = False
                    _wait_for_death(pids[process])
                answers += told
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for _ in pids:
                os.waitpid(-1, 0)
            self._machine.unlink()
        return tuple(answers)

    def _ask(self, process: int, run: Program, number: int) -> list[Any]:
        ours, _ = self._sockets[process]
        send(ours, run, number)
        ours.settimeout(PATIENCE_S)
        try:
            (answers,), _ = receive(ours)
        except TimeoutError:
            msg = f"{run[0].verb}{run[0].arguments} did not return within {PATIENCE_S:g} s, or its process died of it"
            raise UserError(msg) from None
        return list(answers)

    def _fork(self, number: int) -> int:
        """The pid of a new process, which is to be process `number`.  Returns in the parent only."""
        pid = os.fork()
        if not pid:
            try:
                self._serve(number)
            finally:
                os._exit(1)
        return pid

    def _serve(self, number: int) -> NoReturn:
        """Do what is told, until killed or until the worker, who alone has the other ends, is gone."""
        for ours, _ in self._sockets:
            ours.close()
        _, theirs = self._sockets[number]
        while True:
            (run, next_number), _ = receive(theirs)
            match run[0].verb:
                case "fork":
                    send(theirs, [self._fork(next_number)])
                case "exit":
                    send(theirs, [0])
                    os._exit(0)
                case "pass_fd":
                    send(theirs, [self._send_fd(*run[0].arguments)])
                case "receive_fd":
                    send(theirs, [self._receive_fd(number)])
                case _:
                    send(theirs, list(map(self._machine.perform, run)))

    def _send_fd(self, fd: int, to: int) -> int:
        """sendmsg(SCM_RIGHTS): how many bytes, or the error."""
        sender, _ = self._passing[to]
        try:
            return socket.send_fds(sender, [b"."], [fd])
        except OSError as error:
            return -(error.errno or 0)

    def _receive_fd(self, number: int) -> int:
        """recvmsg(): the descriptor that process `number` got for what was sent to it."""
        _, receiver = self._passing[number]
        _, (fd,), *_ = socket.recv_fds(receiver, 1, 1)
        return fd


def _runs(program: Program) -> Iterator[Program]:
    """The program cut where another process goes on: what is between is told in one message, if that is not long."""
    run: list[Call] = []
    for call in program:
        apart = call.verb in ALONE
        if run and (apart or call.process != run[0].process or sum(map(_weight, run)) >= HEAVIEST):
            yield tuple(run)
            run = []
        run.append(call)
        if apart:
            yield tuple(run)
            run = []
    if run:
        yield tuple(run)


def _weight(call: Call) -> int:
    """How many pages the answer may have."""
    return LARGEST // PAGE_SIZE if call.verb in {"read", "pread"} else 1


def _socket_pair() -> tuple[socket.socket, socket.socket]:
    first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return _high(first), _high(second)


def _high(end: socket.socket) -> socket.socket:
    """The same socket, out of the programs' way."""
    return socket.socket(fileno=move_high(end.detach()))


def _wait_for_death(pid: int) -> None:
    """Until the process has let go of its memory and its descriptors, whosever child it is."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        select.select([descriptor], [], [], PATIENCE_S)
    finally:
        os.close(descriptor)


def serve(scratch: Path, hear: Callable[[], Any], tell: Callable[..., None]) -> NoReturn:
    """Perform what the session asks for, batch by batch, until it ends.

    Told are the answers, and how many seconds the programs of one process took and how many the others.
    """
    linux = Linux(scratch)
    tell("ready", writes_by_page())
    while True:
        answers = []
        seconds = [0.0, 0.0]
        for program in hear().programs():
            began = time.perf_counter()
            answers.append(linux.perform(program))
            seconds[has_processes(program)] += time.perf_counter() - began
        tell("answers", answers, seconds)
