"""Calls in memory, as machine code performs them: written down, run without the interpreter, and the answers read.

The memory is shared, so that whichever process runs the table, its answers are seen here.  An entry is eight words (see
`mmsim.conformance.machine_code`); what the call at place n of the table reads or loads lies in the n-th stretch of
`LARGEST` bytes.  Every letter has a stretch too, from which it is written.
"""

from __future__ import annotations

import mmap
import signal
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from mmsim.conformance import native
from mmsim.conformance.real import ARENA, FIRST, FIRST_OF_HARNESS
from mmsim.conformance.sequential.program import ARENA_LENGTH, FILES, LARGEST, Answer, Call
from mmsim.syscalls import PAGE_SIZE

Entry = tuple[int, ...]

PIECE: Final = 64
"""How many calls of a program a table holds."""
AFTER: Final = 8
"""And how many that clean up."""
WORD: Final = 8
"""Bytes."""
WORDS: Final = 8
"""Of an entry; the last is for the result."""
ENTRIES: Final = tuple(struct.Struct(f"={count * WORDS}q") for count in range(PIECE + AFTER + 1))
"""So many of them."""
COPY: Final = -1

_TABLE: Final = PAGE_SIZE
_TEXTS: Final = _TABLE + 2 * PAGE_SIZE
_LETTERS: Final = _TEXTS + 4 * PAGE_SIZE
_CONTENTS: Final = _LETTERS + 256 * LARGEST
_LENGTH: Final = _CONTENTS + PIECE * LARGEST

NO_NUMBER: Final = frozenset({"load", "store", "read", "pread"})
"""Calls that do not answer what they return."""
SIGNALS: Final = {int(number): number.name for number in (signal.SIGSEGV, signal.SIGBUS)}


class Table:
    """The memory; its first page is for mailboxes."""

    def __init__(self, folder: Path) -> None:
        self.memory = mmap.mmap(-1, _LENGTH)
        self.start = native.address_of(self.memory)
        self.address = self.start + _TABLE
        self._words = memoryview(self.memory).cast("q")
        self._texts = _TEXTS
        self._name = self.text(b"file")
        self._paths = {name: self.text(bytes(folder / name)) for name in FILES}
        self._links: dict[int, int] = {}
        self._letters: dict[int, int] = {}
        self.unlink: list[Entry] = [entry(native.SYS_UNLINK, path) for path in self._paths.values()]
        self.clear: list[Entry] = [
            entry(native.SYS_MUNMAP, ARENA, ARENA_LENGTH),
            entry(native.SYS_CLOSE_RANGE, FIRST, FIRST_OF_HARNESS - 1),
        ]
        self._verbs = self._writers()

    def write(self, calls: Sequence[Call], after: Iterable[Entry] = ()) -> int:
        """Write down up to `PIECE` calls, and then what is not asked about: how many entries there are."""
        words: list[int] = []
        verbs = self._verbs
        into = self.start + _CONTENTS
        for call in calls:
            words += verbs[call.verb](into, *call.arguments)
            into += LARGEST
        for more in after:
            words += more
        count = len(words) // WORDS
        ENTRIES[count].pack_into(self.memory, _TABLE, *words)
        return count

    def answers(self, calls: Sequence[Call]) -> list[Answer]:
        """What the calls that were written down have answered."""
        results = self.results(len(calls))
        told: list[Answer] = [*results]
        memory, at = self.memory, _CONTENTS
        for place, call in enumerate(calls):
            verb = call.verb
            if verb in NO_NUMBER:
                result = results[place]
                if verb == "load":
                    told[place] = SIGNALS[result] if result else memory[at : at + call.arguments[1]]
                elif verb == "store":
                    told[place] = SIGNALS[result] if result else 0
                elif result >= 0:
                    told[place] = memory[at : at + result]
            at += LARGEST
        return told

    def results(self, count: int) -> list[int]:
        """What so many entries, from the first on, have returned."""
        at = _TABLE // WORD
        return self._words[at + WORDS - 1 : at + WORDS * count : WORDS].tolist()

    def text(self, text: bytes) -> int:
        """The address of a C string (or of anything else) that stays."""
        address = self._texts
        self._texts += -(-(len(text) + 1) // WORD) * WORD
        self.memory[address : address + len(text)] = text
        return self.start + address

    def _writers(self) -> dict[str, Callable[..., Entry]]:
        """For each verb what makes an entry, from where to read to and the call's arguments; in full, for speed."""
        name, paths, link, filled = self._name, self._paths, self._link, self._filled
        return {
            "memfd_create": lambda _, _name, flags: (native.SYS_MEMFD_CREATE, name, flags, 0, 0, 0, 0, 0),
            "open": lambda _, file, flags: (native.SYS_OPEN, paths[file], flags, 0o777, 0, 0, 0, 0),
            "reopen": lambda _, fd, flags: (native.SYS_OPEN, link(fd), flags, 0, 0, 0, 0, 0),
            "read": lambda into, fd, length: (native.SYS_READ, fd, into, length, 0, 0, 0, 0),
            "pread": lambda into, fd, length, at: (native.SYS_PREAD64, fd, into, length, at, 0, 0, 0),
            "write": lambda _, fd, letter, length: (native.SYS_WRITE, fd, filled(letter), length, 0, 0, 0, 0),
            "pwrite": lambda _, fd, letter, length, at: (native.SYS_PWRITE64, fd, filled(letter), length, at, 0, 0, 0),
            "mmap": lambda _, fd, prot, flags, length, at, to: (native.SYS_MMAP, to, length, prot, flags, fd, at, 0),
            "load": lambda into, address, length: (COPY, into, address, length, 0, 0, 0, 0),
            "store": lambda _, address, letter, length: (COPY, address, filled(letter), length, 0, 0, 0, 0),
            "add_seals": lambda _, fd, seals: (native.SYS_FCNTL, fd, native.F_ADD_SEALS, seals, 0, 0, 0, 0),
            "get_seals": lambda _, fd: (native.SYS_FCNTL, fd, native.F_GET_SEALS, 0, 0, 0, 0, 0),
            "close": lambda _, fd: (native.SYS_CLOSE, fd, 0, 0, 0, 0, 0, 0),
            "dup": lambda _, fd: (native.SYS_DUP, fd, 0, 0, 0, 0, 0, 0),
            "ftruncate": lambda _, fd, size: (native.SYS_FTRUNCATE, fd, size, 0, 0, 0, 0, 0),
            "fallocate": lambda _, fd, mode, at, length: (native.SYS_FALLOCATE, fd, mode, at, length, 0, 0, 0),
            "fchmod": lambda _, fd, mode: (native.SYS_FCHMOD, fd, mode, 0, 0, 0, 0, 0),
            "munmap": lambda _, address, length: (native.SYS_MUNMAP, address, length, 0, 0, 0, 0, 0),
            "mprotect": lambda _, address, length, prot: (native.SYS_MPROTECT, address, length, prot, 0, 0, 0, 0),
            "mremap": lambda _, address, *rest: (native.SYS_MREMAP, address, *rest, 0, 0),
            "madvise": lambda _, address, length, advice: (native.SYS_MADVISE, address, length, advice, 0, 0, 0, 0),
        }

    def _link(self, fd: int) -> int:
        known = self._links.get(fd)
        if known is None:
            known = self._links[fd] = self.text(b"/proc/self/fd/%d" % fd)
        return known

    def _filled(self, letter: int) -> int:
        """The address of many of the letter."""
        known = self._letters.get(letter)
        if known is None:
            at = _LETTERS + letter * LARGEST
            self.memory[at : at + LARGEST] = bytes((letter,)) * LARGEST
            known = self._letters[letter] = self.start + at
        return known


def entry(*call: int) -> Entry:
    """A system call of up to six arguments, or a copy."""
    return call + (0,) * (WORDS - len(call))
