"""From a program that shows a difference to a smaller one that shows one too.

Every call that can go goes, most of them first, and every number becomes a simpler one where the difference stays.
What is left is minimal in this: no single call can be taken out of it.  The difference stays the
same one (`run.kind_of`), or it would turn into another that is simpler to have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import attrs

from mmsim.conformance.real import FIRST
from mmsim.conformance.sequential.program import OPENING, Call, Program
from mmsim.syscalls import MFD_HUGETLB, PAGE_SIZE

TRIALS: Final = 1500
"""How many programs are tried for one difference."""
NO_DESCRIPTOR: Final = frozenset(
    {"memfd_create", "open", "load", "store", "munmap", "mprotect", "mremap", "madvise", "fork", "exit"}
)
"""Calls whose first argument is no descriptor."""
BITS: Final = {"memfd_create": (1,), "add_seals": (1,), "fallocate": (1,), "mmap": (1,), "mprotect": (2,)}
SIZES: Final = {
    "ftruncate": (1,),
    "fallocate": (2, 3),
    "read": (1,),
    "pread": (1, 2),
    "write": (2,),
    "pwrite": (2, 3),
    "mmap": (3, 4),
    "munmap": (1,),
    "mprotect": (1,),
    "madvise": (1,),
    "mremap": (1, 2),
    "load": (1,),
    "store": (2,),
}
"""Arguments in which smaller is simpler, by their places."""


def shrunk(program: Program, differs: Callable[[Program], bool]) -> Program:
    """A smaller program of which `differs` is true as well; the same for the same program and answers."""
    trials = 0
    going = True
    while going:
        going = False
        for candidate in _smaller(program):
            trials += 1
            if trials > TRIALS:
                return program
            if differs(candidate):
                program, going = candidate, True
                break
    return program


def _smaller(program: Program) -> Iterator[Program]:
    size = len(program) // 2
    while size:
        for start in range(len(program) - size, -1, -size):
            yield program[:start] + program[start + size :]
        size //= 2
    for at, call in enumerate(program):
        if call.verb in OPENING:  # together with what it opened: those that come after it move down by one
            for fd in range(FIRST, FIRST + len(program)):
                yield (*program[:at], *(_moved_down(each, fd) for each in program[at + 1 :]))
        for simpler in _simpler(call):
            yield (*program[:at], simpler, *program[at + 1 :])


def _moved_down(call: Call, fd: int) -> Call:
    first = call.arguments[0] if call.arguments else None
    if call.verb in NO_DESCRIPTOR or not isinstance(first, int) or first <= fd:
        return call
    return attrs.evolve(call, arguments=(first - 1, *call.arguments[1:]))


def _simpler(call: Call) -> Iterator[Call]:
    if call.process:
        yield attrs.evolve(call, process=0)
    for at, argument in enumerate(call.arguments):
        if isinstance(argument, int):
            for simple in _simple(call.verb, at, argument):
                yield attrs.evolve(call, arguments=(*call.arguments[:at], simple, *call.arguments[at + 1 :]))


def _simple(verb: str, at: int, argument: int) -> Iterator[int]:
    """Simpler numbers than this one, the simplest first; never an address, or flags that leave one to the kernel."""
    if at == 0 and verb not in NO_DESCRIPTOR:
        yield from range(FIRST, argument)
    elif verb == "pass_fd":  # to an earlier process
        yield from range(argument)
    elif at in BITS.get(verb, ()):
        bits = map((1).__lshift__, range(argument.bit_length()))
        yield from (argument & ~bit for bit in bits if argument & bit and (verb, bit) != ("memfd_create", MFD_HUGETLB))
    elif at in SIZES.get(verb, ()):
        yield from (simple for simple in (0, 1, PAGE_SIZE) if simple < argument)
