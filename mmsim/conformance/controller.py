"""The stirring controller: starts the tested processes, serves the slow device and decides when it answers.

One thread and one loop, so that it can fork at any time and shares no interpreter lock with the threads it tests.  An
I/O is answered at a moment drawn at random for it, or held until every thread of its run has finished or waits for a
device: that is when Linux has given up a seal with EBUSY after some 160 ms.

Reads of all lanes come through one mount and are received at once, which copies nothing.  Writes have a mount per
lane: the server takes the bytes of a write as it receives it, so a write that is alone in its queue is left there,
pinned and unread, until it is to be answered.
"""

from __future__ import annotations

import os
import random
import select
import signal
import socket
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from mmsim.conformance.fuse import LARGEST_IO, Connection
from mmsim.conformance.lane import READ, SEEN, Lane, Pending, SharedLane, Tested, receive, send
from mmsim.conformance.mounts import mount_all
from mmsim.conformance.process import TestedProcess, move_high
from mmsim.conformance.stir import answer_delay
from mmsim.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mmsim.conformance.fuse import Request
    from mmsim.conformance.native import Memory
    from mmsim.conformance.stir import Cast, Timing
    from mmsim.scenario import Scenario

HELD_AT_MOST: Final = 0.5
"""Seconds after which a device answers though some thread still runs: three times what F_SEAL_WRITE waits."""

SHORTEST_POLL: Final = 0.001
"""Seconds; epoll knows no less."""

Pickled = tuple[tuple[str, bytes], ...]
"""An outcome whose values are pickled."""


class Controller:
    """Runs a scenario again and again."""

    def __init__(self, scenario: Scenario, cast: Cast, memory: Memory, scratch: Path, lanes: int) -> None:
        self.observed: Counter[Pickled] = Counter()
        self.stuck: list[str] = []
        self.done = 0
        self._scenario = scenario
        self._cast = cast
        self._memory = memory
        self._scratch = scratch
        self._poll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._reads: Connection | None = None
        self._lanes: list[Lane] = []
        if cast.devices:
            self._reads = Connection(scratch / "reads", move_high)
            self._watch(self._reads.fd, self._receive_reads)
        try:
            for number in range(lanes):
                self._lanes.append(self._make_lane(number))
        except BaseException:
            self.close()
            raise

    def run(self, timings: Iterator[Timing], stop: Callable[[], bool]) -> None:
        """Perform a run for each timing, several at once, until told to stop.  UserError: the scenario's fault."""
        upcoming = next(timings, None)
        stopping = False
        while True:
            stopping = stopping or stop()
            for lane in self._lanes:
                if lane.phase == "idle" and upcoming is not None and not stopping:
                    self._begin(lane, upcoming)
                    upcoming = next(timings, None)
            if all(lane.phase == "idle" for lane in self._lanes) and (stopping or upcoming is None):
                return
            for fd, _ in self._poll.poll(self._answer_what_is_due()):
                if handler := self._handlers.get(fd):
                    handler()
            self._bury()

    def close(self) -> None:
        """Kill what runs, unmount, close."""
        for lane in self._lanes:
            self._kill(lane)
            lane.shared.end()  # a child whose parent was killed before it told of it waits for this alone
        for connection in (self._reads, *(lane.writes for lane in self._lanes)):
            if connection is not None:
                connection.close()  # ends every I/O, so that the killed can die
        self._poll.close()
        while True:
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                break
        for lane in self._lanes:
            for mounted in lane.mounts.values():
                mounted.close()  # now that nobody has a file open there

    # Lanes and their processes.

    def _make_lane(self, number: int) -> Lane:
        writes = Connection(self._scratch / f"writes{number}", move_high) if self._cast.devices else None
        mounts = mount_all(self._scenario.mounts, self._scratch, number)
        lane = Lane(number, SharedLane(len(self._cast.processes)), writes, mounts)
        if writes is not None:
            self._watch(writes.fd, lambda: self._receive_writes(lane))
        for process in range(len(self._cast.processes)):
            self._fork(lane, process)
        return lane

    def _fork(self, lane: Lane, number: int) -> None:
        ours, theirs = (
            socket.socket(fileno=move_high(end.detach()))
            for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        )
        pid = os.fork()
        if pid == 0:
            try:
                self._leave_behind(ours)
                tested = TestedProcess(
                    number, self._scenario, self._cast, lane.shared, theirs, lane.number, lane.mounts
                )
                reads = self._reads and self._reads.directory
                writes = lane.writes and lane.writes.directory
                tested.serve(self._memory, reads or None, writes or None)
            finally:
                os._exit(1)
        theirs.close()
        lane.processes[number] = forked = Tested(number, pid, ours)
        lane.awaited.add(number)
        self._watch(ours.fileno(), lambda: self._hear(lane, forked))

    def _leave_behind(self, ours: socket.socket) -> None:
        """In a new process: close the controller's descriptors.  Held open, /dev/fuse would outlive its server."""
        self._poll.close()
        for fd in (*self._handlers, ours.fileno()):
            os.close(fd)

    def _watch(self, fd: int, handler: Callable[[], None]) -> None:
        self._handlers[fd] = handler
        self._poll.register(fd, select.EPOLLIN)

    def _forget(self, tested: Tested) -> None:
        del self._handlers[tested.control.fileno()]
        self._poll.unregister(tested.control.fileno())
        tested.control.close()

    def _kill(self, lane: Lane) -> None:
        for pid in (*(tested.pid for tested in lane.processes.values()), *lane.orphans):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def _bury(self) -> None:
        """Take notice of processes that have ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for lane in self._lanes:
                for tested in [t for t in lane.processes.values() if t.pid == pid]:
                    self._hear(lane, tested)  # what it said last
                    self._ended(lane, tested, status)

    def _ended(self, lane: Lane, tested: Tested, status: int) -> None:
        if not tested.exiting and lane.phase != "stuck":
            how = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit status {status >> 8}"
            msg = f"the process that ran {', '.join(self._names(tested.number))} was ended by {how}"
            raise UserError(msg)
        self._forget(tested)
        del lane.processes[tested.number]
        lane.awaited.discard(tested.number)
        self._advance(lane)

    def _names(self, process: int) -> list[str]:
        return [place.name for place in self._cast.processes[process]]

    # One run.

    def _begin(self, lane: Lane, timing: Timing) -> None:
        lane.timing, lane.draw = timing, random.Random(timing.seed)
        lane.shared.begin()
        lane.threads = {"setup": None}
        lane.outcomes, lane.announced, lane.devices, lane.pending, lane.orphans = {}, {}, {}, {}, []
        lane.phase, lane.awaited = "setup", set(lane.processes)
        lane.deadline = time.monotonic() + timing.seconds
        for tested in lane.processes.values():
            send(tested.control, "run", timing)

    def _hear(self, lane: Lane, tested: Tested) -> None:
        """Every message that the process has sent."""
        while select.select([tested.control], [], [], 0)[0]:
            try:
                message, descriptors = receive(tested.control)
            except (EOFError, ConnectionError):
                self._poll.modify(tested.control.fileno(), 0)
                return
            self._handle(lane, tested, message, descriptors)

    def _hear_all(self, lane: Lane) -> None:
        """Learn of every write that is in the queue by now: each was announced before it was made."""
        for tested in list(lane.processes.values()):
            self._hear(lane, tested)

    def _handle(self, lane: Lane, tested: Tested, message: tuple[Any, ...], descriptors: tuple[int, ...]) -> None:
        match message:
            case ("error", sentence):
                raise UserError(sentence)
            case ("shared", shared, numbers):
                self._share(lane, tested, (shared, numbers), descriptors)
            case ("ready" | "clean",):
                lane.awaited.discard(tested.number)
            case ("forks", name):
                lane.threads[name] = None
            case ("forked", pid):
                lane.orphans.append(pid)
            case ("done", thread, outcome, exits):
                lane.outcomes[thread] = outcome
                lane.threads.pop(thread, None)
                if exits and thread in self._names(tested.number):
                    tested.exiting = True
            case _:
                self._handle_io(lane, message)
        self._advance(lane)

    @staticmethod
    def _share(lane: Lane, source: Tested, shared: tuple[bytes, tuple[int, ...]], descriptors: tuple[int, ...]) -> None:
        """Hand what setup returned, and its descriptors, to the other processes of the lane."""
        for tested in lane.processes.values():
            if tested is not source:
                send(tested.control, "shared", *shared, descriptors=descriptors)
        for descriptor in descriptors:
            os.close(descriptor)

    def _handle_io(self, lane: Lane, message: tuple[Any, ...]) -> None:
        match message:
            case ("waits", thread, slot) if slot in lane.pending or slot in lane.announced:
                lane.threads[thread] = slot
            case ("write", slot, device):
                lane.announced[slot] = lane.devices[slot] = device
                if lane.writes is not None:
                    self._poll.modify(lane.writes.fd, select.EPOLLIN)
            case ("over", slot):
                lane.announced.pop(slot, None)
            case ("exiting", slots):
                self._take_writes(lane, set(slots))

    def _advance(self, lane: Lane) -> None:
        """Pass to the next phase of a run where all that was awaited has come."""
        if lane.phase == "setup" and not lane.awaited:
            lane.phase = "running"
            lane.threads = dict.fromkeys(self._cast.names)
            for tested in lane.processes.values():
                send(tested.control, "go")
        if lane.phase == "running" and not lane.threads and not lane.pending and not lane.announced:
            order = {name: number for number, name in enumerate(self._cast.names)}
            names = sorted(lane.outcomes, key=lambda name: (order.get(name, len(order)), name))
            self.observed[tuple((name, lane.outcomes[name]) for name in names)] += 1
            self._end(lane)
        elif lane.phase in {"cleaning", "stuck"} and not lane.awaited:
            if len(lane.processes) == len(self._cast.processes):
                for mounted in lane.mounts.values():
                    mounted.clear()
                lane.phase = "idle"
                return
            lane.phase = "cleaning"
            for number in set(range(len(self._cast.processes))) - set(lane.processes):
                self._fork(lane, number)

    def _end(self, lane: Lane) -> None:
        self.done += 1
        lane.phase, lane.awaited = "cleaning", set(lane.processes)
        lane.shared.end()
        for tested in lane.processes.values():
            if not tested.exiting:
                send(tested.control, "end")

    def _give_up(self, lane: Lane) -> None:
        """The run is stuck: kill its processes, and let the device answer so that they can die."""
        waiting = ", ".join(lane.threads) or "its end"
        self.stuck.append(f"a run was stopped after {lane.timing.seconds:g} s, waiting for {waiting}")
        self.done += 1
        lane.phase, lane.awaited = "stuck", set(lane.processes)
        self._kill(lane)
        lane.shared.end()
        self._take_writes(lane, set(lane.announced) | set(lane.pending))
        for pending in list(lane.pending.values()):
            self._answer(lane, pending)
        lane.announced.clear()

    # The slow device.

    def _receive_reads(self) -> None:
        assert self._reads is not None
        for request in self._reads.receive():
            number, offset = divmod(request.offset, 1 << 40)
            slot, rest = divmod(offset, LARGEST_IO)
            lane = self._lanes[number] if number < len(self._lanes) else None
            if lane is None or rest or not request.size <= lane.shared.expected(slot) or slot in lane.pending:
                self._reads.answer(request, bytes(request.size))  # somebody looks what may be on a new loop device
                continue
            self._schedule(lane, slot, request)
            lane.shared.set_state(slot, SEEN)

    def _receive_writes(self, lane: Lane) -> None:
        """A write has come.  Alone in the queue it may lie there; of several the queue must show which they are."""
        writes = lane.writes
        assert writes is not None
        if not select.select([writes.fd], [], [], 0)[0]:
            return
        self._hear_all(lane)
        if len(lane.announced) != 1:
            self._take_writes(lane, set())
            return
        self._poll.modify(writes.fd, 0)
        (slot,) = lane.announced
        if slot not in lane.pending:
            self._schedule(lane, slot, None)
            lane.shared.set_state(slot, SEEN)

    def _take_writes(self, lane: Lane, also: set[int]) -> None:
        """Receive every write in the queue: the device reads the memory now."""
        if lane.writes is None:
            return
        received = lane.writes.receive()
        self._hear_all(lane)
        for request in received:
            slot = request.file
            if slot not in lane.announced or request.written is None:
                lane.writes.answer(request)  # the byte that a new process writes once
                continue
            del lane.announced[slot]
            lane.shared.set_data(slot, request.written)
            if slot in lane.pending:
                lane.pending[slot].request = request
            else:
                self._schedule(lane, slot, request)
            lane.shared.set_state(slot, READ)
        self._poll.modify(lane.writes.fd, select.EPOLLIN)
        for slot in also:
            if slot not in lane.announced:
                lane.shared.set_state(slot, READ)

    def _schedule(self, lane: Lane, slot: int, request: Request | None) -> None:
        delay = answer_delay(lane.timing, lane.draw)
        due = time.monotonic() + (HELD_AT_MOST if delay is None else delay)
        lane.pending[slot] = Pending(slot, due, delay is None, request)

    def _answer(self, lane: Lane, pending: Pending) -> None:
        if pending.request is None:
            self._take_writes(lane, set())
        request = pending.request
        del lane.pending[pending.slot]
        for thread, slot in lane.threads.items():
            if slot == pending.slot:
                lane.threads[thread] = None
        if request is None:  # withdrawn: its process was killed
            lane.announced.pop(pending.slot, None)
        elif request.written is not None and lane.writes is not None:
            lane.shared.wrote(lane.devices[pending.slot], pending.slot, request.size)
            lane.writes.answer(request)
        elif self._reads is not None:
            self._reads.answer(request, lane.shared.data(pending.slot, request.size))
        self._advance(lane)

    def _answer_what_is_due(self) -> float:
        """Answer, stop what is stuck, and say for how many seconds nothing more is due."""
        now = time.monotonic()
        soonest = now + 0.2
        for lane in self._lanes:
            if lane.phase in {"setup", "running"} and now > lane.deadline:
                self._give_up(lane)
            held = [pending for pending in lane.pending.values() if pending.held]
            if held and all(slot is not None for slot in lane.threads.values()):
                lane.draw.choice(held).due = now
            for pending in list(lane.pending.values()):
                if pending.due <= now and pending.slot in lane.pending:
                    self._answer(lane, pending)
                    soonest = now  # what is held back may be due after this
                else:
                    soonest = min(soonest, pending.due)
        left = soonest - time.monotonic()
        if left >= SHORTEST_POLL:
            return left
        time.sleep(max(0.0, min(left, 30e-6)))
        return 0.0
