"""Programs performed by the model: one system call at a time, on a machine that is booted anew for each program.

Nobody else runs, so every step takes effect at once and the first of its alternatives is the one.  A machine is a world
without cells yet: what `mmsim.machine.boot` does for a scenario is not needed, only its processes are made.  Booting
again empties the cells and keeps the objects, which have no values of their own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar, cast

from mmsim.cells import Cell, Handle, Named, World
from mmsim.conformance.sequential.program import PROCESSES, Answer, Call, Program
from mmsim.kernel.entry import SimSyscalls
from mmsim.kernel.releases import Release
from mmsim.kernel.scm import scm_detach_fds, scm_fp_copy
from mmsim.kernel.strategy import Strategy
from mmsim.kernel.types import Cpus, Kernel, Process, SuperBlock
from mmsim.steps import KernelBug, Step
from mmsim.syscalls import MFD_HUGETLB, Mount

H = TypeVar("H", bound=Handle)
N = TypeVar("N", bound=Named)

LOAD: Final = Cell("any", 0).load().effect
MOUNT: Final = Mount("tmpfs")
NAMES: Final = tuple(f"process{number}" for number in range(PROCESSES))
BOOTS: Final = 1000
"""How often a machine is booted before another takes its place, for it keeps every object that it ever had."""


class _Child:
    """What `Syscalls.fork` is told to run, which is only asked for its name: its calls come from the program."""

    def __init__(self, name: str) -> None:
        self.__name__ = name


CHILDREN: Final[tuple[Any, ...]] = tuple(map(_Child, NAMES))


class _World(World):
    """A world for many programs, in which an object is known again by its name.

    A name says how its object is made, as it does for all the schedules of one scenario; where it did not, a program
    would meet what another has made, so that is looked at here.
    """

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[str, dict[str, object]] = {}
        self._asked_for: dict[type[Named], list[Any]] = {}

    def handle(self, kind: Callable[[World, str], H], name: str) -> H:
        """See `World.handle`.  RuntimeError: the name has been used for something else."""
        known = self._known.get(name)
        how = kind.keywords if isinstance(kind, functools.partial) else {}
        if known is None:
            known = super().handle(kind, name)
            self._made[name] = how
            for asked, found in self._asked_for.items():
                if isinstance(known, asked):
                    found.append(known)
        elif how and how != self._made[name]:  # where it is not said how, an object that is there is looked for
            msg = f"{name} is made with {how} now, and was made with {self._made[name]}"
            raise RuntimeError(msg)
        return cast("H", known)

    def of(self, kind: type[N]) -> list[N]:
        """See `World.of`; after the first time nothing is looked through."""
        found = self._asked_for.get(kind)
        if found is None:
            found = self._asked_for[kind] = super().of(kind)
        return found


class ModelMachine:
    """A machine that has just been booted, with one process and a tmpfs."""

    def __init__(self, strategy: Strategy, release: Release) -> None:
        self._values: dict[Any, Any] = {}
        world = _World()
        world.handle(_mounted, MOUNT.name)
        processes = {name: world.handle(Process, name) for name in NAMES}
        cpus = Cpus(tuple((process, (name,)) for name, process in processes.items()))
        self._calls = [
            SimSyscalls(Kernel(name, world, process, strategy, release, 1, cpus), 0, {}, processes, alone=True)
            for name, process in processes.items()
        ]
        self._alive = [True]
        self.boots = 1
        self._special: dict[str, Callable[[Call], Any]] = {
            "fork": self._fork,
            "exit": self._exit,
            "pass_fd": self._pass_fd,
            "memfd_create": self._memfd_create,
            "open": self._open,
            "write": self._write,
            "pwrite": self._write,
            "store": self._store,
            "load": self._load,
        }

    def boot(self) -> None:
        """Everything is as it was at first."""
        self._values.clear()
        self._alive = [True]
        self.boots += 1

    def perform(self, call: Call) -> Answer:
        """Make the call: its answer, or a sentence about the model's own bug."""
        verb = call.verb
        if not self._is_alive(call.process) or (verb == "pass_fd" and not all(map(self._is_alive, call.takes_part))):
            return None
        special = self._special.get(verb)
        try:
            if special is not None:
                answer: Answer = special(call)
            else:
                answer = self._run(getattr(self._calls[call.process], verb)(*call.arguments))
        except KernelBug as bug:
            return f"kernel bug: {bug}"
        return answer

    def _is_alive(self, process: int) -> bool:
        return process < len(self._alive) and self._alive[process]

    def _fork(self, call: Call) -> int | None:
        if len(self._alive) == PROCESSES:
            return None
        self._run(self._calls[call.process].fork(CHILDREN[len(self._alive)]))
        self._alive.append(True)
        return len(self._alive) - 1

    def _exit(self, call: Call) -> int:
        self._alive[call.process] = False
        self._run(self._calls[call.process].exit())
        return 0

    def _pass_fd(self, call: Call) -> Any:
        fd, to = call.arguments
        file = self._run(scm_fp_copy(self._calls[call.process].k, fd))
        return file if isinstance(file, int) else self._run(scm_detach_fds(self._calls[to].k, file))

    def _memfd_create(self, call: Call) -> Any:
        name, flags = call.arguments
        kind = "huge" if flags & MFD_HUGETLB else ""  # an inode of hugetlbfs has no name that one of tmpfs has had
        return self._run(self._calls[call.process].memfd_create(f"{kind}{name}{call.process}", flags))

    def _open(self, call: Call) -> Any:
        return self._run(self._calls[call.process].open(MOUNT, *call.arguments))

    def _write(self, call: Call) -> Any:
        fd, letter, length, *rest = call.arguments
        write = getattr(self._calls[call.process], call.verb)
        return self._run(write(fd, bytes((letter,)) * length, *rest))

    def _store(self, call: Call) -> Any:
        address, letter, length = call.arguments
        fault = self._run(self._calls[call.process].store(address, bytes((letter,)) * length))
        return 0 if fault is None else fault.name

    def _load(self, call: Call) -> Any:
        got = self._run(self._calls[call.process].load(*call.arguments))
        return got if isinstance(got, bytes) else got.name

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return run_alone(self._values, coroutine)


def run_alone(values: dict[Any, Any], coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a call to its end on the cells' `values`: what it answers.  KernelBug where it waits for ever."""
    send, value_of, result = coroutine.send, values.get, None
    try:
        while True:
            step: Step[Any] = send(result)
            cell = step.cell
            if cell is None:
                result = step.effect(None, *step.operands)[0][1]
                continue
            value = value_of(cell, cell.initial)
            if step.effect is LOAD:  # a third of all steps, and nothing changes
                result = value
                continue
            alternatives = step.effect(value, *step.operands)
            if not alternatives:
                msg = f"the call waits for ever at {step!r}"
                raise KernelBug(msg)
            values[cell], result = alternatives[0]
    except StopIteration as end:
        return end.value
    finally:
        coroutine.close()


def _mounted(world: World, name: str) -> SuperBlock:
    return SuperBlock(world, name, mounted=True)


_machine = functools.lru_cache(maxsize=1)(ModelMachine)


def perform(program: Program, strategy: Strategy, release: Release) -> tuple[Answer, ...]:
    """The model's answer to each call."""
    machine = _machine(strategy, release)
    if machine.boots > BOOTS:
        _machine.cache_clear()
        machine = _machine(strategy, release)
    machine.boot()
    return tuple(map(machine.perform, program))
