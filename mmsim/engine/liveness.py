"""Which locals of a suspended frame can still be read: a backward data-flow analysis of its bytecode.

A local that is written before it is read again is no part of what a thread does next, and keeping it would hold apart
local states that behave alike: the counts a sealing thread loaded from the page before, the errno of a call long past.
Follows the textbook (Aho, Sethi, Ullman, section 10.6) over `dis`, with every instruction of a protected range also
leading to its handler.  Frames with closures, and instructions that are not known here, keep all their locals.
"""

from __future__ import annotations

import dis
from functools import cache
from types import CodeType
from typing import Any

_NO_FALL_THROUGH = frozenset(
    {
        "RETURN_VALUE",
        "RETURN_CONST",
        "RAISE_VARARGS",
        "RERAISE",
        "JUMP_FORWARD",
        "JUMP_BACKWARD",
        "JUMP_BACKWARD_NO_INTERRUPT",
    }
)
_READS = frozenset({"LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_AND_CLEAR", "LOAD_FAST_LOAD_FAST", "DELETE_FAST"})
_WRITES = frozenset({"STORE_FAST", "STORE_FAST_MAYBE_NULL", "STORE_FAST_STORE_FAST"})
_BY_NAME = frozenset({"locals", "vars", "dir", "eval", "exec", "_getframe", "currentframe"})
_JUMPS = frozenset(dis.hasjrel) | frozenset(dis.hasjabs)


def _names(argument: object) -> frozenset[str]:
    return frozenset(map(str, argument) if isinstance(argument, tuple) else (str(argument),))


def reads_by_name(code: CodeType) -> bool:
    """Whether a function may look at its locals other than by instructions, as `locals()` does."""
    return not _BY_NAME.isdisjoint(code.co_names)


@cache
def live_locals(code: CodeType) -> dict[int, frozenset[str]] | None:
    """For each instruction's offset, the locals that may be read after it; None where all must be kept."""
    if code.co_cellvars or code.co_freevars:
        return None
    instructions = list(dis.get_instructions(code))
    position = {instruction.offset: number for number, instruction in enumerate(instructions)}
    successors: list[list[int]] = []
    reads: list[frozenset[str]] = []
    writes: list[frozenset[str]] = []
    for number, instruction in enumerate(instructions):
        name = instruction.opname
        following = [number + 1] if name not in _NO_FALL_THROUGH and number + 1 < len(instructions) else []
        if instruction.opcode in _JUMPS:
            following.append(position[instruction.argval])
        successors.append(following)
        if "FAST" in name and name not in _READS | _WRITES | {"STORE_FAST_LOAD_FAST"}:
            return None
        if name == "STORE_FAST_LOAD_FAST":
            stored, loaded = instruction.argval
            writes.append(frozenset({stored}))
            reads.append(frozenset({loaded}) - writes[-1])
        else:
            reads.append(_names(instruction.argval) if name in _READS else frozenset())
            writes.append(_names(instruction.argval) if name in _WRITES else frozenset())
    entries: list[Any] = vars(dis.Bytecode(code))["exception_entries"]
    for entry in entries:
        handler = position[entry.target]
        for number, instruction in enumerate(instructions):
            if entry.start <= instruction.offset < entry.end:
                successors[number].append(handler)
    into: list[frozenset[str]] = [frozenset()] * len(instructions)
    out: list[frozenset[str]] = [frozenset()] * len(instructions)
    changed = True
    while changed:
        changed = False
        for number in range(len(instructions) - 1, -1, -1):
            after = frozenset().union(*(into[successor] for successor in successors[number]))
            before = reads[number] | (after - writes[number])
            # a store cannot raise, so what it overwrites is dead in its handler too
            if after != out[number] or before != into[number]:
                out[number], into[number] = after, before
                changed = True
    return {instruction.offset: live for instruction, live in zip(instructions, out, strict=True)}
