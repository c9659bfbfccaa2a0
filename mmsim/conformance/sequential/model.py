"""Programs performed by the model: one system call at a time, on a machine that is new for each program.

Nobody else runs, so every step takes effect at once and the first of its alternatives is the one.  A machine is a world
without cells yet: what `mmsim.machine.boot` does for a scenario is not needed, only its processes are made.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final

from mmsim.cells import World
from mmsim.conformance.sequential.program import PROCESSES, Answer, Call, Program
from mmsim.kernel.entry import SimSyscalls
from mmsim.kernel.releases import Release
from mmsim.kernel.scm import scm_detach_fds, scm_fp_copy
from mmsim.kernel.strategy import Strategy
from mmsim.kernel.types import Cpus, Kernel, Process, SuperBlock
from mmsim.steps import KernelBug, Step
from mmsim.syscalls import Mount

MOUNT: Final = Mount("tmpfs")
NAMES: Final = tuple(f"process{number}" for number in range(PROCESSES))


class _Child:
    """What `Syscalls.fork` is told to run, which is only asked for its name: its calls come from the program."""

    def __init__(self, name: str) -> None:
        self.__name__ = name


CHILDREN: Final[tuple[Any, ...]] = tuple(map(_Child, NAMES))


class ModelMachine:
    """A machine that has just been booted, with one process and a tmpfs."""

    def __init__(self, strategy: Strategy, release: Release) -> None:
        self._values: dict[Any, Any] = {}
        world = World()
        self._mount = world.handle(_mounted, MOUNT.name)
        processes = {name: world.handle(Process, name) for name in NAMES}
        cpus = Cpus(tuple((process, (name,)) for name, process in processes.items()))
        self._calls = [
            SimSyscalls(Kernel(name, world, process, strategy, release, 1, cpus), 0, {}, processes, alone=True)
            for name, process in processes.items()
        ]
        self._alive = [True]

    def perform(self, call: Call) -> Answer:
        """Make the call: its answer, or a sentence about the model's own bug."""
        if not all(map(self._is_alive, call.takes_part)):
            return None
        try:
            answer: Answer = self._answer(call)
        except KernelBug as bug:
            return f"kernel bug: {bug}"
        return answer

    def _is_alive(self, process: int) -> bool:
        return process < len(self._alive) and self._alive[process]

    def _answer(self, call: Call) -> Any:
        sys, arguments = self._calls[call.process], call.arguments
        match call.verb:
            case "fork":
                if len(self._alive) == PROCESSES:
                    return None
                self._run(sys.fork(CHILDREN[len(self._alive)]))
                self._alive.append(True)
                return len(self._alive) - 1
            case "exit":
                self._alive[call.process] = False
                self._run(sys.exit())
                return 0
            case "pass_fd":
                fd, to = arguments
                file = self._run(scm_fp_copy(sys.k, fd))
                return file if isinstance(file, int) else self._run(scm_detach_fds(self._calls[to].k, file))
            case "memfd_create":
                return self._run(sys.memfd_create(f"{arguments[0]}{call.process}", arguments[1]))
            case "open":
                return self._run(sys.open(MOUNT, *arguments))
            case "write" | "pwrite":
                fd, letter, length, *rest = arguments
                return self._run(getattr(sys, call.verb)(fd, bytes((letter,)) * length, *rest))
            case "store":
                address, letter, length = arguments
                fault = self._run(sys.store(address, bytes((letter,)) * length))
                return 0 if fault is None else fault.name
            case "load":
                got = self._run(sys.load(*arguments))
                return got if isinstance(got, bytes) else got.name
        return self._run(getattr(sys, call.verb)(*arguments))

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return run_alone(self._values, coroutine)


def run_alone(values: dict[Any, Any], coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a call to its end on the cells' `values`: what it answers.  KernelBug where it waits for ever."""
    send, result = coroutine.send, None
    try:
        while True:
            step: Step[Any] = send(result)
            cell = step.cell
            if cell is None:
                result = step.effect(None, *step.operands)[0][1]
                continue
            alternatives = step.effect(values.get(cell, cell.initial), *step.operands)
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


def perform(program: Program, strategy: Strategy, release: Release) -> tuple[Answer, ...]:
    """The model's answer to each call."""
    return tuple(map(ModelMachine(strategy, release).perform, program))
