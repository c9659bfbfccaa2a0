"""What the calls of a program leave behind, and its name; found again by its value in the model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import attrs

from mmsim.emit.record import Record
from mmsim.machine import MAIN

TAKEN: Final = """
    auto break case char const continue default do double else enum extern float for goto if inline int long main
    register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
    close dup exit fork index mmap munmap open pipe read signal splice stderr stdin stdout sync tee time write
"""
"""Words of C, and of libc what a scenario might call something."""


@attrs.define(eq=False)
class Variable:
    """What a call left behind."""

    name: str
    kind: str
    """`fd`, `address`, `io` or `buffer`."""
    value: Any
    thread: str
    process: str
    length: int = 0
    used: bool = False
    used_elsewhere: bool = False

    @property
    def type(self) -> str:
        """How it is declared."""
        return {"fd": "int ", "address": "char *", "io": "struct io ", "buffer": "struct buffer "}[self.kind]

    @property
    def is_static(self) -> bool:
        """Whether it must outlive its function, or be seen by others."""
        return self.used_elsewhere or self.kind in {"io", "buffer"}


class Variables:
    """All variables of a program, in the order in which they are made."""

    def __init__(self, process_of: dict[str, str], reserved: Iterable[str], earlier: Iterable[Variable] = ()) -> None:
        """`process_of` says which process each thread is of; `earlier` is from a first writing of the same calls.

        What the first writing used is known to be used in the second, where it is made.
        """
        self.process_of = process_of
        self.pairs: list[tuple[str, str]] = []
        """(thread, name) of every array that pipe() or socketpair() fills."""
        self._made: list[Variable] = []
        self._earlier = {each.name: each for each in earlier}
        self._reserved = frozenset({*TAKEN.split(), *reserved})

    def __iter__(self) -> Iterator[Variable]:
        return iter(self._made)

    def make(self, record: Record, kind: str, value: Any, name: str) -> Variable:
        """What a call makes, under this name or one like it."""
        process = self.process_of.get(record.thread, MAIN)
        made = Variable(self._unique(name), kind, value, record.thread, process)
        before = self._earlier.get(made.name, made)
        made.used, made.used_elsewhere = before.used or kind in {"io", "buffer"}, before.used_elsewhere
        self._made.append(made)
        return made

    def alias(self, variable: Variable, value: Any) -> None:
        """Let the same variable stand for another value too."""
        self._made.append(attrs.evolve(variable, value=value))

    def pair(self, record: Record) -> str:
        """An array of two descriptors, in the function of a thread."""
        name = self._unique("ends")
        self.pairs.append((record.thread, name))
        return name

    def latest(
        self, record: Record, kind: str, fits: Callable[[Variable], bool], process: str | None = None
    ) -> Variable | None:
        """The last one made that fits: by the process itself, or by `setup` or others of the process it came from."""
        own = process or self.process_of.get(record.thread, MAIN)
        found = [each for each in self._made if each.kind == kind and fits(each)]
        seen = [each for each in found if each.process == own] or [each for each in found if each.process == MAIN]
        if not seen:
            return None
        seen[-1].used = True
        seen[-1].used_elsewhere |= seen[-1].thread != record.thread
        return seen[-1]

    def holding(self, value: Any) -> Variable:
        """The one that stands for this I/O or buffer."""
        variable = next(each for each in reversed(self._made) if each.value is value)
        variable.used = True
        return variable

    def _unique(self, name: str) -> str:
        plain = re.sub(r"\W", "_", name).lower().lstrip("_0123456789") or "it"
        taken = {each.name for each in self._made} | {pair for _, pair in self.pairs} | self._reserved
        candidates = (plain, *(f"{plain}{number}" for number in range(2, 1000)))
        return next(candidate for candidate in candidates if candidate not in taken)
