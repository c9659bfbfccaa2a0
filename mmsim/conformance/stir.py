"""How the timing of a run is stirred, and which threads a scenario has."""

from __future__ import annotations

import os
import time
from collections import Counter
from enum import Enum
from typing import TYPE_CHECKING

import attrs

from mmsim.scenario import Process, Scenario, ThreadFunction

if TYPE_CHECKING:
    import random
    from collections.abc import Hashable

    from mmsim.syscalls import Device
    from mmsim.verdict import Outcome

_SCALES = (0.0, 0.0, 10e-6, 50e-6, 200e-6, 1e-3)
"""Upper bounds of a thread's delays, in seconds; one is drawn per thread and run."""

_LATE, _DELAYED, _PINNED, _MOVED = 0.5, 0.6, 0.7, 0.05
"""The probabilities that a thread starts late, a call is delayed, a thread is pinned, a call moves its thread."""


class Answers(Enum):
    """When a device answers."""

    STIRRED = "at a moment drawn at random for each I/O"
    AT_ONCE = "as soon as it has the request"
    HELD = "when every thread has finished or waits for a device"


@attrs.frozen
class Timing:
    """How one run is stirred.  The same timing does not make the same run: the kernel's own is not ours."""

    seed: int = 0
    answers: Answers = Answers.STIRRED
    delays: bool = True
    """Whether a random delay precedes system calls."""
    pinning: bool = True
    """Whether threads are bound to CPUs drawn at random."""
    seconds: float = 10.0
    """A run that takes longer is stuck."""


def answer_delay(timing: Timing, draw: random.Random) -> float | None:
    """In how many seconds a device answers; None: when every thread has finished or waits."""
    if timing.answers is Answers.HELD:
        return None
    if timing.answers is Answers.AT_ONCE:
        return 0.0
    soon = 10 ** draw.uniform(-5, -2.5)
    during_a_seal = draw.uniform(0, 0.2)  # F_SEAL_WRITE waits 160 ms for pins
    return draw.choices((0.0, soon, during_a_seal, None), (6, 8, 3, 3))[0]


class Stirrer:
    """Called before each system call of one thread."""

    def __init__(self, timing: Timing, draw: random.Random, cpus: tuple[int, ...]) -> None:
        self._draw = draw
        self._cpus = cpus if timing.pinning and len(cpus) > 1 else ()
        self._scale = draw.choice(_SCALES) if timing.delays else 0.0
        self._late = 10 ** draw.uniform(-5, -2.5) if timing.delays and draw.random() < _LATE else 0.0

    def start(self) -> None:
        """Called by the thread itself as it begins."""
        if self._cpus and self._draw.random() < _PINNED:
            self._pin()

    def __call__(self) -> None:
        """Delay, or move to another CPU, or do nothing."""
        if self._late:  # the first call: one thread may be milliseconds behind another
            time.sleep(self._late)
            self._late = 0.0
        how = self._draw.random()
        if self._scale and how < _DELAYED:
            time.sleep(self._draw.random() * self._scale)
        elif self._cpus and how > 1 - _MOVED:
            self._pin()

    def _pin(self) -> None:
        os.sched_setaffinity(0, {self._draw.choice(self._cpus)})


@attrs.frozen
class Place:
    """One thread of a scenario: its name, and the copy of its process that it is in."""

    name: str
    function: ThreadFunction
    index: int = 0


@attrs.frozen
class Cast:
    """Who plays: the processes (the first is the one that setup runs in), children, and the devices of each copy."""

    processes: tuple[tuple[Place, ...], ...]
    children: tuple[ThreadFunction, ...]
    devices: tuple[tuple[Device, int | None], ...]
    """A device and the copy that owns it; None for one that all share."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every thread that runs from the start, in the scenario's order."""
        return tuple(place.name for process in self.processes for place in process)

    def likeness(self, outcome: Outcome) -> Hashable:
        """Equal for outcomes that differ only in which copy of a process is which: the model explores one of them."""
        values = dict(outcome)
        alike: Counter[Hashable] = Counter()
        for process in self.processes:
            if process and process[0].name.endswith("]"):
                alike[tuple((place.function, values.pop(place.name, None)) for place in process)] += 1
        return frozenset(values.items()), frozenset(alike.items())

    def device(self, device: Device, index: int) -> int | None:
        """The number of the device that a thread in copy `index` means; None if the scenario does not name it."""
        for key in ((device, index), (device, None)):
            if key in self.devices:
                return self.devices.index(key)
        return None


def cast_of(scenario: Scenario) -> Cast:
    """The threads of a scenario, process by process."""
    main = tuple(Place(thread.__name__, thread) for thread in scenario.threads if not isinstance(thread, Process))
    processes = [main]
    devices: dict[tuple[Device, int | None], None] = {(device, None): None for device in scenario.devices}
    for group in scenario.threads:
        if isinstance(group, Process):
            for index in range(group.copies):
                names = [group.thread_name(thread, index) for thread in group.threads]
                processes.append(tuple(Place(n, t, index) for n, t in zip(names, group.threads, strict=True)))
                devices.update({(device, index): None for device in group.devices})
    return Cast(tuple(processes), scenario.children, tuple(devices))
