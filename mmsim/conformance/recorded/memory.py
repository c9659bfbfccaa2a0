"""Calls on memory, at the addresses that Linux chose.

What the model does not have mapped (anonymous memory, other files) is nowhere; where such a mapping takes the place of
one of the model's, that one goes, and where it may not, the model is asked whether the place is free.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, Final

from mmsim.conformance.recorded.asking import RESOURCES, Ask, NotModelled, Rule, answered, followed
from mmsim.conformance.recorded.log import Call
from mmsim.conformance.recorded.machine import LARGEST, Machine
from mmsim.conformance.recorded.syntax import CONSTANTS, descriptor, number, signed
from mmsim.kernel.mmap import page_align
from mmsim.kernel.types import VM_SHARED, Vma
from mmsim.syscalls import (
    MADV_DONTNEED,
    MAP_FIXED,
    MAP_PRIVATE,
    MAP_SHARED,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    PROT_READ,
    PROT_WRITE,
)

TYPE: Final = 0xF
ANONYMOUS, NOREPLACE = CONSTANTS["MAP_ANONYMOUS"], CONSTANTS["MAP_FIXED_NOREPLACE"]
VALIDATE: Final = CONSTANTS["MAP_SHARED_VALIDATE"]
DONTUNMAP: Final = CONSTANTS["MREMAP_DONTUNMAP"]
NO_MATTER: Final = sum(
    CONSTANTS[f"MAP_{name}"]
    for name in (
        "32BIT", "ABOVE4G", "DENYWRITE", "EXECUTABLE", "LOCKED", "NORESERVE", "POPULATE", "NONBLOCK", "STACK",
        "HUGETLB",
    )
)  # fmt: skip
"""Flags that change where a mapping goes or when its pages come, and no answer."""
CHANGES: Final = ("mmap", "munmap", "mremap")
"""What changes who maps a file."""
PROTECTIONS: Final = 7
FREE: Final = "free"


def occupied(machine: Machine, pid: int, start: int, length: int) -> str | None:
    """Why Linux cannot have mapped something there, if the model is right."""
    there = [vma for vma in machine.vmas(pid, start, page_align(length)) if vma.file.inode not in machine.state.lost]
    return f"{there[0].start:#x} is still mapped" if there else None


def unmap(machine: Machine, pid: int, start: int, length: int) -> int:
    """munmap()."""
    answer: int = machine.run(machine.calls(pid).munmap(start, length))
    return answer


def lost(machine: Machine, vmas: tuple[Vma, ...]) -> str | None:
    """Why one of these mappings may not be what the model takes it for."""
    return next((reason for vma in vmas if (reason := machine.state.lost.get(vma.file.inode))), None)


def elsewhere(machine: Machine, call: Call, start: int, length: int, *, fixed: bool) -> Ask:
    """A mapping that the model does not have has come to `start`."""
    if not machine.vmas(call.pid, start, page_align(length)):
        raise NotModelled
    fixed = fixed or occupied(machine, call.pid, start, length) is None

    def perform() -> Any:
        reason = occupied(machine, call.pid, start, length)
        unmap(machine, call.pid, start, page_align(length))
        return None if fixed else reason or FREE

    return Ask(call, perform, None if fixed else FREE)


def stored_through(machine: Machine, vmas: tuple[Vma, ...], prot: int) -> None:
    """Whoever may store to a file may have done so."""
    for vma in vmas:
        if vma.flags & VM_SHARED and prot & PROT_WRITE:
            machine.stored_to(vma.file.inode)


def concerns(machine: Machine, call: Call) -> bool:
    """Whether a call that changes mappings is about what the model has at this moment."""
    if call.name == "mmap" and machine.file(call.pid, descriptor(call.arguments[4])) is not None:
        return True
    start, length = number(call.arguments[0]), number(call.arguments[1])
    return bool(start and machine.vmas(call.pid, start, max(length, 1)))


def mmap(machine: Machine, call: Call) -> Ask:
    """A mapping of one of the model's files, at the address that Linux answered."""
    address, length, prot = signed(call.arguments[0]), number(call.arguments[1]), number(call.arguments[2])
    flags, offset, value = number(call.arguments[3]), signed(call.arguments[5]), answered(call)
    fd = descriptor(call.arguments[4])
    fixed = bool(flags & (MAP_FIXED | NOREPLACE)) and not flags & NOREPLACE
    file = None if flags & ANONYMOUS else machine.file(call.pid, fd)
    known = file is None and not flags & ANONYMOUS and value == -errno.EBADF and machine.known_closed(call.pid, fd)
    if file is None and not known:
        if value < 0:
            raise NotModelled
        return elsewhere(machine, call, value, length, fixed=fixed)
    if -value in RESOURCES:
        raise NotModelled(rule=Rule.RESOURCES)
    kind = {MAP_SHARED: MAP_SHARED, MAP_PRIVATE: MAP_PRIVATE, VALIDATE: MAP_SHARED}.get(flags & TYPE, flags & TYPE)
    strange = flags & ~(TYPE | NO_MATTER | MAP_FIXED | NOREPLACE) or prot & ~PROTECTIONS
    reason = f"it was mapped with flags that the model does not have in line {call.line}" if strange else ""
    if file is not None:
        reason = machine.state.lost.get(file.inode, reason)
        if length > LARGEST:
            reason = f"it was mapped in more than {LARGEST >> 20} MiB in line {call.line}"
        if reason and value >= 0:
            machine.lose(file.inode, reason)
    if reason or (value == -errno.EEXIST and flags & NOREPLACE):
        raise NotModelled(reason)
    allowed = prot & (PROT_READ | PROT_WRITE)

    def perform() -> Any:
        calls = machine.calls(call.pid)
        if value < 0:
            at = address if fixed else 0
            return machine.run(calls.mmap(fd, allowed, kind | (MAP_FIXED if fixed else 0), length, offset, at))
        reason = None if fixed else occupied(machine, call.pid, value, length)
        answer = machine.run(calls.mmap(fd, allowed, kind | MAP_FIXED, length, offset, value))
        stored_through(machine, machine.vmas(call.pid, value, page_align(length)), prot)
        return reason or answer

    return Ask(call, perform, value, () if value < 0 or fixed else (Rule.ADDRESS,))


def munmap(machine: Machine, call: Call) -> Ask:
    """What the model has in the range."""
    start, length = number(call.arguments[0]), number(call.arguments[1])
    if not machine.vmas(call.pid, start, length):
        raise NotModelled
    if call.value is not None and -call.value in RESOURCES:
        raise NotModelled(rule=Rule.RESOURCES)
    if lost(machine, machine.vmas(call.pid, start, length)) and call.value == 0:
        return followed(call, lambda: unmap(machine, call.pid, start, length))
    return Ask(call, lambda: unmap(machine, call.pid, start, length), answered(call))


def covered(machine: Machine, pid: int, start: int, length: int) -> bool:
    """Whether the model has all of the range."""
    at, end = start, start + page_align(length)
    for vma in machine.vmas(pid, start, length):
        if vma.start > at:
            return False
        at = vma.end
    return at >= end


def mprotect(machine: Machine, call: Call) -> Ask:
    """Asked where the model has all of the range; done, where it has some of it and Linux did it."""
    start, length, prot = number(call.arguments[0]), number(call.arguments[1]), number(call.arguments[2])
    value = answered(call)
    if not machine.vmas(call.pid, start, length):
        raise NotModelled
    if prot & ~PROTECTIONS:
        for vma in machine.vmas(call.pid, start, length):
            machine.lose(vma.file.inode, f"mprotect() with flags that the model does not have in line {call.line}")
        raise NotModelled("flags that the model does not have")
    allowed = prot & (PROT_READ | PROT_WRITE)

    def change(first: int, size: int) -> int:
        answer: int = machine.run(machine.calls(call.pid).mprotect(first, size, allowed))
        # Also where it failed: what lies before the place that refused is changed.
        stored_through(machine, machine.vmas(call.pid, first, size), prot)
        return answer

    reason = lost(machine, machine.vmas(call.pid, start, length))
    if covered(machine, call.pid, start, length) and not reason:
        return Ask(call, lambda: change(start, length), value)
    if value < 0 and reason:
        raise NotModelled(reason)
    if value < 0:
        raise NotModelled("part of the range is not the model's")
    end = start + page_align(length)

    def pieces() -> None:
        for vma in machine.vmas(call.pid, start, end - start):
            low, high = max(vma.start, start), min(vma.end, end)
            change(low, high - low)

    return followed(call, pieces)


def madvise(machine: Machine, call: Call) -> Ask:
    """MADV_DONTNEED, where the model has all of the range."""
    start, length, advice = number(call.arguments[0]), number(call.arguments[1]), number(call.arguments[2])
    if advice != MADV_DONTNEED or not machine.vmas(call.pid, start, length):
        raise NotModelled
    reason = lost(machine, machine.vmas(call.pid, start, length))
    if reason or not covered(machine, call.pid, start, length):
        raise NotModelled(reason or "part of the range is not the model's")
    return Ask(call, lambda: machine.run(machine.calls(call.pid).madvise(start, length, advice)), answered(call))


def mremap(machine: Machine, call: Call) -> Ask:
    """Moved to the address that Linux answered, or grown in place where it did not move."""
    old, old_length, new_length = (number(argument) for argument in call.arguments[:3])
    flags, value = number(call.arguments[3]), answered(call)
    to = number(call.arguments[4]) if flags & MREMAP_FIXED else 0
    vmas = machine.vmas(call.pid, old, max(old_length, 1))
    if not vmas:
        if value < 0:
            raise NotModelled
        return elsewhere(machine, call, value, new_length, fixed=bool(flags & MREMAP_FIXED) or value == old)
    reason = lost(machine, vmas)
    if reason:
        if value >= 0:
            unmap(machine, call.pid, old, old_length)
            unmap(machine, call.pid, value, new_length)
        raise NotModelled(reason)
    whole = covered(machine, call.pid, old, old_length)
    if flags & DONTUNMAP or not old_length or not whole or max(old_length, new_length) > LARGEST:
        for vma in vmas if value >= 0 else ():
            machine.lose(vma.file.inode, f"mremap() as the model does not have it in line {call.line}")
        raise NotModelled("mremap() as the model does not have it")
    if value == -errno.ENOMEM:
        raise NotModelled(rule=Rule.ROOM)
    perform, rules = _moving(machine, call, (old, old_length, new_length, flags, to))
    return Ask(call, perform, value, rules)


def _moving(
    machine: Machine, call: Call, asked: tuple[int, int, int, int, int]
) -> tuple[Callable[[], Any], tuple[Rule, ...]]:
    old, old_length, new_length, flags, to = asked
    value = answered(call)

    def run(flags: int, to: int) -> Any:
        return machine.run(machine.calls(call.pid).mremap(old, old_length, new_length, flags, to))

    if value < 0 or flags & MREMAP_FIXED:
        return lambda: run(flags, to), ()
    if value == old:
        return lambda: run(flags & ~MREMAP_MAYMOVE, 0), ()

    def moves() -> Any:
        reason = occupied(machine, call.pid, value, new_length)
        answer = run(flags | MREMAP_FIXED, value)
        return reason or answer

    return moves, (Rule.ADDRESS,)


HANDLERS: Final = {
    "mmap": mmap,
    "munmap": munmap,
    "mprotect": mprotect,
    "madvise": madvise,
    "mremap": mremap,
}
