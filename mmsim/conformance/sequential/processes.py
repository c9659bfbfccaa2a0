"""Several processes that make calls in turn: they run nothing but machine code, for little memory is quick to fork.

The first of each program is forked from a process that has unmapped everything else; those that a program forks are
forked by itself.  All are children of this process (CLONE_PARENT), and end with it.  Each waits at a mailbox of its own
until it is told to run the table, one at a time.  A descriptor is passed to one over a socket that all can send to.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

from mmsim.conformance import native
from mmsim.conformance.process import move_high
from mmsim.conformance.sequential.program import ALONE, PROCESSES, Answer, Call, Program
from mmsim.conformance.sequential.table import PIECE, Entry, Table, entry
from mmsim.errors import UserError
from mmsim.syscalls import PAGE_SIZE

PATIENCE_S: Final = 20.0
"""How long one call may take."""
TEMPLATE: Final = PROCESSES
"""Its mailbox."""
NOTHING_YET, RUN, HAS_RUN = range(3)
MAILBOX: Final = 64
STACK: Final = 1 << 16
"""Room for the signals' frames, and a little."""
END_OF_MEMORY: Final = (1 << 47) - PAGE_SIZE
ARCH_GET_FS: Final = 0x1003
SS_DISABLE: Final = 2
CPUCLOCK_SCHED: Final = 2
"""What the clock of a process's CPU time is called beside its pid (clock_getcpuclockid())."""


class Processes:
    """Performs programs that fork, exit or pass descriptors."""

    def __init__(self, table: Table, memory: native.Memory) -> None:
        self._table = table
        self._code = memory
        self._stack = native.private_memory(STACK)
        self._passing = [_Socket(table) for _ in range(PROCESSES)]
        for number in range(PROCESSES + 1):
            struct.pack_into("<III", table.memory, number * MAILBOX, NOTHING_YET, 0, os.getpid())
        self._template = self._make_template()

    def perform(self, program: Program) -> tuple[Answer, ...]:
        """The kernel's answer to each call.  UserError if one never comes."""
        pids: list[int] = []
        alive: list[bool] = []
        answers: list[Answer] = []
        try:
            self._begin(pids, alive)
            for run in _runs(program):
                process, verb = run[0].process, run[0].verb
                there = all(each < len(pids) and alive[each] for each in run[0].takes_part)
                if not there or (verb == "fork" and len(pids) == PROCESSES):
                    answers += [None] * len(run)
                elif verb == "fork":
                    answers.append(self._fork(process, pids, alive))
                elif verb == "exit":
                    self._tell(process, self._table.write((), [entry(native.SYS_EXIT_GROUP, 0)]))
                    alive[process] = False
                    os.waitpid(pids[process], 0)
                    answers.append(0)
                elif verb == "pass_fd":
                    answers.append(self._pass(process, *run[0].arguments))
                else:
                    self._run(process, self._table.write(run))
                    answers += self._table.answers(run)
        finally:
            self._end([pid for pid, lives in zip(pids, alive, strict=True) if lives])
        return tuple(answers)

    def close(self) -> None:
        """End the template."""
        self._end([self._template])

    def cpu_seconds(self) -> float:
        """How long the template and those that have ended have been running."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return ended.ru_utime + ended.ru_stime + time.clock_gettime(~self._template << 3 | CPUCLOCK_SCHED)

    def _begin(self, pids: list[int], alive: list[bool]) -> None:
        error = self._fork(TEMPLATE, pids, alive)
        if error:
            msg = f"the processes of the programs cannot be forked ({os.strerror(-error)})"
            raise UserError(msg)

    def _fork(self, by: int, pids: list[int], alive: list[bool]) -> int:
        """The number of the new process, or the error."""
        number = len(pids)
        self._set(number, NOTHING_YET)
        flags = native.CLONE_PARENT | signal.SIGCHLD
        mailbox = self._table.start + number * MAILBOX
        pid = self._ask(by, entry(native.SYS_CLONE, flags, 0, 0, 0, 0, mailbox))
        if pid < 0:
            return pid
        pids.append(pid)
        alive.append(True)
        return number

    def _pass(self, process: int, fd: int, to: int) -> int:
        """sendmsg(SCM_RIGHTS), and recvmsg() by the other: the descriptor that it has now, or the sender's error."""
        through = self._passing[to]
        sent = self._ask(process, through.sending(fd))
        if sent < 0:
            return sent
        self._ask(to, through.receiving())
        return through.received()

    def _end(self, pids: list[int]) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            os.waitpid(pid, 0)

    def _ask(self, process: int, asked: Entry) -> int:
        self._run(process, self._table.write((), [asked]))
        return self._table.results(1)[0]

    def _run(self, process: int, entries: int) -> None:
        """Have it run the table."""
        self._tell(process, entries)
        self._hear(process)

    def _tell(self, process: int, entries: int) -> None:
        struct.pack_into("<I", self._table.memory, process * MAILBOX + 4, entries)
        self._set(process, RUN)
        native.futex_wake(self._table.start + process * MAILBOX)

    def _hear(self, process: int) -> None:
        until = time.monotonic() + PATIENCE_S
        while self._state(process) != HAS_RUN:
            if time.monotonic() > until:
                msg = f"a call did not return within {PATIENCE_S:g} s, or its process died of it"
                raise UserError(msg)
            native.futex_wait(self._table.start + process * MAILBOX, RUN, 1.0)

    def _state(self, process: int) -> int:
        state: int = struct.unpack_from("<I", self._table.memory, process * MAILBOX)[0]
        return state

    def _set(self, process: int, state: int) -> None:
        struct.pack_into("<I", self._table.memory, process * MAILBOX, state)

    def _make_template(self) -> int:
        """Fork it, and wait until nothing of what it does needs Python any more: its pid."""
        here = os.getpid()
        self._set(TEMPLATE, RUN)
        pid = os.fork()
        if not pid:
            try:
                native.prctl(native.PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() == here:
                    self._leave_python()
            finally:
                os._exit(1)
        self._hear(TEMPLATE)
        return pid

    def _leave_python(self) -> NoReturn:
        """Unmap all but what is needed; the first table it runs as a process of machine code does it."""
        table = self._table
        kept = _mappings(self._code.start, table.start, native.address_of(self._stack), _thread_pointer())
        ends = [0, *(end for _, end in kept)]
        starts = [*(start for start, _ in kept), END_OF_MEMORY]
        no_stack_for_signals = table.text(struct.pack("=QixxxxQ", 0, SS_DISABLE, 0))
        entries = [entry(native.SYS_SIGALTSTACK, no_stack_for_signals)]
        entries += [
            entry(native.SYS_MUNMAP, end, start - end) for end, start in zip(ends, starts, strict=True) if end < start
        ]
        struct.pack_into("<I", table.memory, TEMPLATE * MAILBOX + 4, table.write((), entries))
        self._code.serve(table.start + TEMPLATE * MAILBOX, table.address, native.address_of(self._stack) + STACK)
        raise AssertionError


class _Socket:
    """What a process receives descriptors with, and the messages of both sides, which lie in the table's memory."""

    def __init__(self, table: Table) -> None:
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sender, self._receiver = (move_high(end.detach()) for end in pair)
        self._memory = table.memory
        self._rights = table.text(bytes(RIGHTS.size)) - table.start
        control = table.start + self._rights
        vector = table.text(struct.pack("=QQ", table.text(b"."), 1))
        self._sent = table.text(MESSAGE.pack(0, 0, vector, 1, control, RIGHTS.size, 0))
        self._received = table.text(MESSAGE.pack(0, 0, vector, 1, control, RIGHTS.size, 0))

    def sending(self, fd: int) -> Entry:
        """sendmsg() of the descriptor."""
        RIGHTS.pack_into(self._memory, self._rights, RIGHTS.size, socket.SOL_SOCKET, socket.SCM_RIGHTS, fd)
        return entry(native.SYS_SENDMSG, self._sender, self._sent, 0)

    def receiving(self) -> Entry:
        """recvmsg()."""
        RIGHTS.pack_into(self._memory, self._rights, 0, 0, 0, -1)
        return entry(native.SYS_RECVMSG, self._receiver, self._received, 0)

    def received(self) -> int:
        """The descriptor that came."""
        *_, fd = RIGHTS.unpack_from(self._memory, self._rights)
        assert isinstance(fd, int)
        return fd


MESSAGE: Final = struct.Struct("=QQQQQQQ")
"""struct msghdr."""
RIGHTS: Final = struct.Struct("=Qiii")
"""struct cmsghdr with a descriptor."""


def _thread_pointer() -> int:
    """Behind it lies what libc has told the kernel to write to whenever the thread is scheduled (rseq)."""
    into = native.private_memory(PAGE_SIZE)
    native.syscall(native.SYS_ARCH_PRCTL, ARCH_GET_FS, native.address_of(into))
    (pointer,) = struct.unpack_from("<Q", into)
    assert isinstance(pointer, int)
    return pointer


def _mappings(*addresses: int) -> list[tuple[int, int]]:
    """(start, end) of the mappings of these addresses and of the kernel's own ([vdso] and the like), in order."""
    kept = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(address, 16) for address in line.split()[0].split("-"))
        if start < END_OF_MEMORY and (any(start <= at < end for at in addresses) or " [v" in line):
            kept.append((start, end))
    return kept


def _runs(program: Program) -> Iterator[Program]:
    """The program cut where another process goes on, and where the table is full."""
    run: list[Call] = []
    for call in program:
        apart = call.verb in ALONE
        if run and (apart or call.process != run[0].process or len(run) == PIECE):
            yield tuple(run)
            run = []
        run.append(call)
        if apart:
            yield tuple(run)
            run = []
    if run:
        yield tuple(run)
